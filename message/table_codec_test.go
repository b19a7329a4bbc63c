package message

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// everyTag holds each of RabbitMQ's tags with its octets and its Go value.
var everyTag = []struct {
	octets string
	value  any
	name   string
}{
	{"t\x01", true, "bool"},
	{"t\x00", false, "bool"},
	{"b\xff", int8(-1), "byte"},
	{"B\xff", uint8(255), "unsignedbyte"},
	{"s\xff\xfe", int16(-2), "short"},
	{"u\xff\xfe", uint16(65534), "unsignedshort"},
	{"I\xff\xff\xff\xfd", int32(-3), "signedint"},
	{"i\xff\xff\xff\xfd", uint32(4294967293), "unsignedint"},
	{"l\xff\xff\xff\xff\xff\xff\xff\xfc", int64(-4), "long"},
	{"f\x3f\xc0\x00\x00", float32(1.5), "float"},
	{"d\xbf\xf8\x00\x00\x00\x00\x00\x00", float64(-1.5), "double"},
	{"D\x02\xff\xff\xff\xff", Decimal{Scale: 2, Value: 4294967295}, "decimal"},
	{"S\x00\x00\x00\x02\xff\x00", "\xff\x00", "longstr"},
	{"x\x00\x00\x00\x01\x7f", []byte{0x7f}, "binary"},
	{"A\x00\x00\x00\x03Vt\x01", []any{nil, true}, "array"},
	{"A\x00\x00\x00\x00", []any{}, "array"},
	{"T\x00\x00\x00\x00\x00\x00\x00\x3c", time.Unix(60, 0).UTC(), "timestamp"},
	{"F\x00\x00\x00\x03\x01kV", Table{{Name: "k"}}, "table"},
	{"F\x00\x00\x00\x00", Table{}, "table"},
	{"V", nil, "void"},
}

func TestEveryTagHasItsGoTypeBothWays(t *testing.T) {
	t.Parallel()
	for _, c := range everyTag {
		body := []byte("\x01a" + c.octets)
		table, err := DecodeTable(body)
		require.NoError(t, err, "%q", c.octets)
		require.Equal(t, Table{{Name: "a", Value: c.value}}, table)
		require.Equal(t, c.name, TypeName(c.value))

		encoded, err := AppendTable([]byte("before"), table)
		require.NoError(t, err)
		want := binary.BigEndian.AppendUint32([]byte("before"), uint32(len(body)))
		require.Equal(t, append(want, body...), encoded)

		encoded, err = AppendTableBody(nil, table)
		require.NoError(t, err)
		require.Equal(t, body, encoded)
	}
}

func TestTagLIsReadAsALongAndWrittenAsOne(t *testing.T) {
	t.Parallel()
	table, err := DecodeTable([]byte("\x01aL\xff\xff\xff\xff\xff\xff\xff\xff"))
	require.NoError(t, err)
	require.Equal(t, Table{{Name: "a", Value: int64(-1)}}, table)
	body, err := AppendTableBody(nil, table)
	require.NoError(t, err)
	require.Equal(t, []byte("\x01al\xff\xff\xff\xff\xff\xff\xff\xff"), body)
}

func TestAnyOctetButZeroIsTrue(t *testing.T) {
	t.Parallel()
	table, err := DecodeTable([]byte("\x01at\x80"))
	require.NoError(t, err)
	require.Equal(t, Table{{Name: "a", Value: true}}, table)
}

func TestOrderAndDuplicatesOfFieldsAreKept(t *testing.T) {
	t.Parallel()
	body := []byte("\x01bV\x01at\x01\x01at\x00\x00V")
	table, err := DecodeTable(body)
	require.NoError(t, err)
	require.Equal(t, Table{{"b", nil}, {"a", true}, {"a", false}, {"", nil}}, table)
	v, ok := table.Get("a")
	require.True(t, ok)
	require.Equal(t, true, v)
	again, err := AppendTableBody(nil, table)
	require.NoError(t, err)
	require.Equal(t, body, again)
}

func TestConvenientIntegersAreWrittenShortest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, out any }{
		{int(-5), int32(-5)},
		{int(math.MaxInt32), int32(math.MaxInt32)},
		{uint(math.MaxInt32 + 1), int64(math.MaxInt32 + 1)},
		{uint(7), int32(7)},
		{uint64(7), int32(7)},
		{uint64(math.MaxInt64), int64(math.MaxInt64)},
	} {
		body, err := AppendTableBody(nil, Table{{"n", c.in}})
		require.NoError(t, err)
		table, err := DecodeTable(body)
		require.NoError(t, err)
		require.Equal(t, Table{{"n", c.out}}, table)
		require.Equal(t, TypeName(c.out), TypeName(c.in))
		require.True(t, table.Equal(Table{{"n", c.in}}))
	}
}

func TestEveryNumberOfSecondsSurvives(t *testing.T) {
	t.Parallel()
	zero := time.Time{}.Unix()
	for _, s := range []uint64{0, 1, 1 << 40, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64,
		uint64(zero), uint64(zero) - 1, uint64(zero) + 1} {
		body := binary.BigEndian.AppendUint64([]byte("\x01aT"), s)
		table, err := DecodeTable(body)
		require.NoError(t, err)
		again, err := AppendTableBody(nil, table)
		require.NoError(t, err)
		require.Equal(t, body, again, "%d", s)
	}
}

// nested is a table body with depth-1 tables or arrays inside of it.
func nested(tag byte, depth int) []byte {
	var p []byte
	for range depth - 1 {
		head := []byte{tag}
		if tag == 'F' && len(p) > 0 {
			p = append([]byte{0}, p...)
		}
		p = append(binary.BigEndian.AppendUint32(head, uint32(len(p))), p...)
	}
	return append([]byte{0}, p...)
}

func TestBadTablesAreRefused(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"name without end":         "\x05abc",
		"name without value":       "\x01a",
		"name of the whole rest":   "\x03abc",
		"unknown tag U":            "\x01aU\x00\x00",
		"unknown tag y":            "\x01ay\x00",
		"bool without value":       "\x01at",
		"short cut":                "\x01as\x00",
		"long cut":                 "\x01al\x00\x00\x00\x00\x00\x00\x00",
		"decimal cut":              "\x01aD\x00\x00\x00\x00",
		"string's length cut":      "\x01aS\x00\x00\x00",
		"string past the end":      "\x01aS\x00\x00\x00\x02x",
		"string of 4 GiB":          "\x01aS\xff\xff\xff\xffx",
		"binary past the end":      "\x01ax\x00\x00\x00\x01",
		"table past the end":       "\x01aF\x00\x00\x00\x01",
		"array past the end":       "\x01aA\x00\x00\x00\x01",
		"unknown tag in a table":   "\x01aF\x00\x00\x00\x03\x01bz",
		"unknown tag in an array":  "\x01aA\x00\x00\x00\x01z",
		"entry past inner table":   "\x01aF\x00\x00\x00\x03\x01bt\x01",
		"element past inner array": "\x01aA\x00\x00\x00\x01t\x01",
		"float NaN":                "\x01af\x7f\xc0\x00\x00",
		"float infinite":           "\x01af\xff\x80\x00\x00",
		"double NaN":               "\x01ad\x7f\xf8\x00\x00\x00\x00\x00\x00",
		"double infinite":          "\x01ad\x7f\xf0\x00\x00\x00\x00\x00\x00",
		"NaN in an array":          "\x01aA\x00\x00\x00\x05f\x7f\xc0\x00\x00",
		"bad second field":         "\x01aV\x01bz",
		"tables nested too deep":   string(nested('F', MaxTableDepth+1)),
		"arrays nested too deep":   string(nested('A', MaxTableDepth+1)),
		"tables nested much deep":  string(nested('F', 10000)),
	} {
		_, err := DecodeTable([]byte(body))
		require.ErrorIs(t, err, ErrBadTable, name)
		require.ErrorIs(t, checkTable([]byte(body), 1), ErrBadTable, name)
	}
}

func TestDeepestTableIsTaken(t *testing.T) {
	t.Parallel()
	for _, tag := range []byte("FA") {
		body := nested(tag, MaxTableDepth)
		require.NoError(t, checkTable(body, 1))
		table, err := DecodeTable(body)
		require.NoError(t, err)
		again, err := AppendTableBody(nil, table)
		require.NoError(t, err)
		require.Equal(t, body, again)

		_, err = AppendTableBody(nil, Table{{"more", table}})
		require.ErrorIs(t, err, ErrBadTable)
	}
}

func TestWhatCannotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	itself := []any{nil}
	itself[0] = itself
	type text string
	for _, c := range []struct {
		table Table
		text  string
	}{
		{Table{{"ok", 1}, {"x", struct{}{}}}, `field "x": bad field table: no field type for Go type struct {}`},
		{Table{{"x", text("")}}, `field "x": bad field table: no field type for Go type message.text`},
		{Table{{"x", []string{"a"}}}, `no field type for Go type []string`},
		{Table{{"x", uint64(math.MaxUint64)}}, `field "x": bad field table: 18446744073709551615 is more than the largest long`},
		{Table{{"x", math.NaN()}}, `field "x": bad field table: float is not finite`},
		{Table{{"x", float32(math.Inf(-1))}}, `field "x": bad field table: float is not finite`},
		{Table{{"in", Table{{"x", []any{1, make(chan int)}}}}}, `field "in": field "x": element 1: bad field table: no field type`},
		{Table{{"x", []any{Table{{"y", func() {}}}}}}, `field "x": element 0: field "y": bad`},
		{Table{{"x", itself}}, `nested deeper than 64`},
		{Table{{strings.Repeat("n", 256), 1}}, `name of 256 octets, the longest is 255`},
	} {
		dst, err := AppendTable([]byte("dst"), c.table)
		require.ErrorIs(t, err, ErrBadTable)
		require.ErrorContains(t, err, c.text)
		require.Equal(t, "dst", string(dst))

		dst, err = AppendTableBody([]byte("dst"), c.table)
		require.ErrorIs(t, err, ErrBadTable)
		require.Equal(t, "dst", string(dst))
	}
}

func TestFindFieldTakesTheFirstMatch(t *testing.T) {
	t.Parallel()
	body := []byte("\x01bV\x02CCA\x00\x00\x00\x06S\x00\x00\x00\x01k\x02CCV")
	v, ok, err := FindField(body, "CC")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []any{"k"}, v)

	v, ok, err = FindField(body, "b")
	require.NoError(t, err)
	require.True(t, ok, "a void field is there")
	require.Nil(t, v)

	_, ok, err = FindField(body, "C")
	require.NoError(t, err)
	require.False(t, ok)

	_, ok, err = FindField(nil, "C")
	require.NoError(t, err)
	require.False(t, ok)
}

func TestFindFieldReportsBadTables(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"\x01az\x01bV", "\x01bA\x00\x00\x00\x01z", "\x01bF\x00\x00\x00\x01z", "\x09b"} {
		_, ok, err := FindField([]byte(body), "b")
		require.ErrorIs(t, err, ErrBadTable, "%q", body)
		require.False(t, ok)
	}
}

func TestFindFieldAllocatesNothingForWhatIsNotThere(t *testing.T) {
	body, err := AppendTableBody(nil, sampleTable())
	require.NoError(t, err)
	allocs := testing.AllocsPerRun(100, func() {
		if _, ok, err := FindField(body, "CC"); ok || err != nil {
			t.Error("found")
		}
	})
	require.Zero(t, allocs)
}

// A table costs memory in proportion to its octets, whatever they claim.
func TestDecodingAllocatesInProportion(t *testing.T) {
	var before, after runtime.MemStats
	for name, body := range map[string][]byte{
		"smallest entries":  bytes.Repeat([]byte("\x00V"), 1<<15),
		"smallest elements": append([]byte("\x00A\x00\x00\xff\xf0"), bytes.Repeat([]byte("V"), 0xfff0)...),
		"empty tables":      bytes.Repeat([]byte("\x00F\x00\x00\x00\x00"), 1<<14),
		"false lengths":     bytes.Repeat([]byte("\x00S\xff\xff\xff\xff"), 1<<14),
	} {
		runtime.ReadMemStats(&before)
		_, err := DecodeTable(body)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(32*len(body)), "%s: %v", name, err)
	}
}

func sampleTable() Table {
	return Table{
		{"x-death", []any{Table{{"count", int64(3)}, {"reason", "expired"}, {"time", time.Unix(1700000000, 0).UTC()}}}},
		{"tenant", "north"},
		{"attempt", int32(2)},
	}
}

func FuzzTable(f *testing.F) {
	for _, c := range everyTag {
		f.Add([]byte("\x01a" + c.octets))
	}
	f.Add(nested('F', MaxTableDepth+1))
	f.Fuzz(func(t *testing.T, body []byte) {
		table, err := DecodeTable(body)
		if check := checkTable(body, 1); (check == nil) != (err == nil) {
			t.Fatalf("decode says %v, check says %v", err, check)
		}
		if err != nil {
			require.ErrorIs(t, err, ErrBadTable)
			return
		}
		again, err := AppendTableBody(nil, table)
		require.NoError(t, err)
		require.Len(t, again, len(body))
		second, err := DecodeTable(again)
		require.NoError(t, err)
		require.True(t, table.Equal(second))
		require.True(t, table.Equal(table.Clone()))
		for _, field := range table {
			want, _ := table.Get(field.Name)
			v, ok, err := FindField(body, field.Name)
			require.NoError(t, err)
			require.True(t, ok && equalValue(want, v))
		}
	})
}

func BenchmarkDecodeTable(b *testing.B) {
	body, err := AppendTableBody(nil, sampleTable())
	require.NoError(b, err)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := DecodeTable(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendTable(b *testing.B) {
	table, dst := sampleTable(), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = AppendTable(dst[:0], table); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleAppendTable() {
	_, err := AppendTable(nil, Table{{Name: "x-message-ttl", Value: 60 * time.Second}})
	fmt.Println(err)
	// Output: field "x-message-ttl": bad field table: no field type for Go type time.Duration
}

// An error about a table deep inside of others must not cost more than the
// table would have.
func TestErrorsOfNestedTablesStaySmall(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("\xff", 255)
	p := []byte("\xff" + name + "z")
	for range MaxTableDepth - 1 {
		p = append(binary.BigEndian.AppendUint32([]byte("\xff"+name+"F"), uint32(len(p))), p...)
	}
	_, err := DecodeTable(p)
	require.ErrorIs(t, err, ErrBadTable)
	require.Less(t, len(err.Error()), 2000)
}
