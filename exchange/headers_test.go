package exchange

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

func f(name string, v any) message.Field { return message.Field{Name: name, Value: v} }

func TestHeadersMatchAsTheContractSays(t *testing.T) {
	t.Parallel()
	type tab = message.Table
	for _, c := range []struct {
		name    string
		args    tab
		headers tab
		match   bool
	}{
		{"all is the default", tab{f("a", 1), f("b", "two")}, tab{f("a", 1), f("b", "two")}, true},
		{"all takes more headers", tab{f("x-match", "all"), f("a", 1), f("b", "two")}, tab{f("a", 1), f("b", "two"), f("c", 3)}, true},
		{"all in another order", tab{f("b", "two"), f("a", 1)}, tab{f("c", 3), f("b", "two"), f("a", 1)}, true},
		{"all with one missing", tab{f("a", 1), f("b", "two")}, tab{f("a", 1)}, false},
		{"all with one wrong", tab{f("a", 1), f("b", "two")}, tab{f("a", 1), f("b", "three")}, false},
		{"all with no headers", tab{f("a", 1)}, nil, false},
		{"any with one", tab{f("x-match", "any"), f("a", 1), f("b", "two")}, tab{f("b", "two"), f("a", 9)}, true},
		{"any with one wrong", tab{f("x-match", "any"), f("a", 1), f("b", "two")}, tab{f("a", 2)}, false},
		{"any with others", tab{f("x-match", "any"), f("a", 1)}, tab{f("c", 1)}, false},
		{"any with no headers", tab{f("x-match", "any"), f("a", 1)}, nil, false},
		{"all of nothing", tab{f("x-match", "all")}, tab{f("a", 1)}, true},
		{"all of nothing, no headers", nil, nil, true},
		{"any of nothing", tab{f("x-match", "any")}, tab{f("a", 1)}, false},
		{"any of nothing, no headers", tab{f("x-match", "any")}, nil, false},
		{"void in any", tab{f("x-match", "any"), f("a", nil), f("b", 7)}, tab{f("a", "present")}, true},
		{"void in all", tab{f("a", nil), f("b", 7)}, tab{f("a", 1), f("b", 7)}, true},
		{"void and absent", tab{f("a", nil)}, tab{f("b", 1)}, false},
		{"void and void", tab{f("a", nil)}, tab{f("a", nil)}, true},
		{"a void header is no value", tab{f("a", "x")}, tab{f("a", nil)}, false},
		{"all skips x-", tab{f("x-a", 1), f("b", 2)}, tab{f("b", 2)}, true},
		{"all of x- only", tab{f("x-a", 1)}, nil, true},
		{"any skips x-", tab{f("x-match", "any"), f("x-a", 1), f("b", 2)}, tab{f("x-a", 1)}, false},
		{"any of x- only", tab{f("x-match", "any"), f("x-a", 1)}, tab{f("x-a", 1)}, false},
		{"all-with-x", tab{f("x-match", "all-with-x"), f("x-a", 1), f("b", 2)}, tab{f("b", 2)}, false},
		{"all-with-x, both", tab{f("x-match", "all-with-x"), f("x-a", 1), f("b", 2)}, tab{f("b", 2), f("x-a", 1)}, true},
		{"any-with-x", tab{f("x-match", "any-with-x"), f("x-a", 1), f("b", 2)}, tab{f("x-a", 1)}, true},
		{"x-match is no header", tab{f("x-match", "any-with-x")}, tab{f("x-match", "any-with-x")}, false},
		{"x is no prefix", tab{f("x", 1)}, tab{f("x", 2)}, false},
		{"the first header of a name counts", tab{f("a", 1)}, tab{f("a", 2), f("a", 1)}, false},
		{"the second argument takes the second header", tab{f("a", 1), f("a", 2)}, tab{f("a", 1), f("a", 2)}, true},
		{"and is missing without it", tab{f("a", 1), f("a", 1)}, tab{f("a", 1)}, false},
		{"nested, same", tab{f("t", tab{f("a", 1), f("b", "x")}), f("l", []any{1, "two"})}, tab{f("t", tab{f("a", 1), f("b", "x")}), f("l", []any{1, "two"})}, true},
		{"nested, elements in another order", tab{f("l", []any{1, "two"})}, tab{f("l", []any{"two", 1})}, false},
		{"nested, entries in another order", tab{f("t", tab{f("a", 1), f("b", 1)})}, tab{f("t", tab{f("b", 1), f("a", 1)})}, false},
		{"nested, another value", tab{f("t", tab{f("a", 1)})}, tab{f("t", tab{f("a", 2)})}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "q")
			w.bind("amq.headers", "q", "ignored", c.args...)
			require.Equal(t, c.match, len(w.routeHeaders("amq.headers", c.headers, "key", "cc")) == 1)
			_, err := w.UnbindQueue("amq.headers", "q", "ignored", c.args, nil)
			require.NoError(t, err)
			require.Empty(t, w.routeHeaders("amq.headers", c.headers))
		})
	}
}

func TestHeaderValuesCompareWithoutTheirTypes(t *testing.T) {
	t.Parallel()
	type tab = message.Table
	dec := func(scale uint8, v uint32) message.Decimal { return message.Decimal{Scale: scale, Value: v} }
	for _, c := range []struct {
		a, b  any
		equal bool
	}{
		{int32(1), int64(1), true},
		{int8(-1), int16(-1), true},
		{uint8(200), uint32(200), true},
		{uint16(1), 1, true},
		{int32(1), 1.0, true},
		{int32(1), float32(1), true},
		{int32(1), 1.5, false},
		{0.1, float32(0.1), false},
		{0.5, float32(0.5), true},
		{0.0, math.Copysign(0, -1), true},
		{0, math.Copysign(0, -1), true},
		{int64(1<<53 + 1), float64(1 << 53), false},
		{int64(math.MaxInt64), float64(1 << 63), false},
		{int64(math.MinInt64), -float64(1 << 63), true},
		{1, math.Inf(1), false},
		{time.Unix(5, 0), int32(5), true},
		{time.Unix(5, 0), time.Unix(5, 0).UTC(), true},
		{time.Unix(-1, 0), time.Unix(-1, 0).UTC(), true},
		{time.Unix(-1, 0), time.Unix(-2, 0), false},
		{time.Unix(-1, 0), -1, false},
		{time.Unix(-1, 0), -1.0, false},
		{"a", []byte("a"), true},
		{[]byte("a"), []byte("a"), true},
		{"a", "b", false},
		{1, "1", false},
		{1, []byte("1"), false},
		{true, "true", false},
		{true, 1, false},
		{true, true, true},
		{true, false, false},
		{nil, nil, true},
		{nil, "", false},
		{dec(2, 314), dec(2, 314), true},
		{dec(1, 10), dec(0, 1), false},
		{dec(0, 1), 1, false},
		{tab{}, []any{}, true},
		{tab(nil), tab{}, true},
		{tab{f("a", 1)}, []any{1}, false},
		{[]any{int32(1)}, []any{int64(1)}, false},
		{[]any{1.0}, []any{float32(1)}, false},
		{[]any{"a"}, []any{[]byte("a")}, false},
		{[]any{int32(1)}, []any{int32(1)}, true},
		{[]any{1}, []any{1, 1}, false},
		{tab{f("a", tab{f("b", 1)})}, tab{f("a", tab{f("b", int32(1))})}, true},
		{tab{f("a", 1)}, tab{f("b", 1)}, false},
		{tab{f("a", 1)}, tab{f("a", int64(1))}, false},
	} {
		require.Equal(t, c.equal, looselyEqual(c.a, c.b), "%T(%v) and %T(%v)", c.a, c.a, c.b, c.b)
		require.Equal(t, c.equal, looselyEqual(c.b, c.a), "%T(%v) and %T(%v)", c.b, c.b, c.a, c.a)
		if c.equal {
			require.Equal(t, appendLoose(nil, c.a), appendLoose(nil, c.b), "%T(%v) and %T(%v)", c.a, c.a, c.b, c.b)
		}
	}
}

func TestHeadersRefuseABadXMatch(t *testing.T) {
	t.Parallel()
	type tab = message.Table
	const values, types = "Invalid x-match field value %s; expected all, any, all-with-x, or any-with-x",
		"Invalid x-match field type %s; expected longstr"
	for _, c := range []struct {
		xmatch any
		text   string
	}{
		{"some", fmt.Sprintf(values, `<<"some">>`)},
		{"", fmt.Sprintf(values, `<<>>`)},
		{"All", fmt.Sprintf(values, `<<"All">>`)},
		{"a\"\\\n\x1b", fmt.Sprintf(values, `<<"a\"\\\n\e">>`)},
		{"\xc3\xa9", fmt.Sprintf(values, "<<\"\xc3\xa9\">>")},
		{"a\x00\x80", fmt.Sprintf(values, `<<97,0,128>>`)},
		{int32(5), fmt.Sprintf(types, "signedint (value 5)")},
		{int64(5), fmt.Sprintf(types, "long (value 5)")},
		{true, fmt.Sprintf(types, "bool (value true)")},
		{nil, fmt.Sprintf(types, "void (value undefined)")},
		{[]byte("all"), fmt.Sprintf(types, `binary (value <<"all">>)`)},
		{1.0, fmt.Sprintf(types, "double (value 1.0)")},
		{0.25, fmt.Sprintf(types, "double (value 0.25)")},
		{1e22, fmt.Sprintf(types, "double (value 1.0e22)")},
		{1.5e-9, fmt.Sprintf(types, "double (value 1.5e-9)")},
		{message.Decimal{Scale: 2, Value: 314}, fmt.Sprintf(types, "decimal (value {2,314})")},
		{time.Unix(7, 0), fmt.Sprintf(types, "timestamp (value 7)")},
		{[]any{int32(1), "a"}, fmt.Sprintf(types, `array (value [{signedint,1},{longstr,<<"a">>}])`)},
		{tab{f("k", int64(1))}, fmt.Sprintf(types, `table (value [{<<"k">>,long,1}])`)},
	} {
		w := newWorld(t, "q")
		_, err := w.BindQueue("amq.headers", "q", "", tab{f("x-match", c.xmatch)}, nil)
		requireRefusal(t, err, reply.PreconditionFailed, c.text)
		require.Empty(t, w.Bindings())
	}
}

// TestHeadersIndexFindsWhatLookingAtAllBindingsFinds compares the router with
// the same patterns without their index.
func TestHeadersIndexFindsWhatLookingAtAllBindingsFinds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	values := []any{nil, 1, int64(1), 1.0, 2, "a", []byte("a"), true, false, message.Table{}, []any{}, []any{1}, 0.5, message.Decimal{}}
	table := func(names ...string) (t message.Table) {
		for range r.IntN(4) {
			t = append(t, f(names[r.IntN(len(names))], values[r.IntN(len(values))]))
		}
		return t
	}
	destinations := []*Destination{queueNamed("a"), queueNamed("b"), queueNamed("c")}
	var router Router = headersRouter{}
	bound := map[bindingID]Binding{}
	var s Subject
	for range 20_000 {
		args := table("a", "b", "x-c")
		if r.IntN(4) > 0 {
			args = append(args, f("x-match", []any{"all", "any", "all-with-x", "any-with-x"}[r.IntN(4)]))
		}
		b, err := newBinding("x", destinations[r.IntN(3)], []string{"", "k"}[r.IntN(2)], args)
		require.NoError(t, err)
		if _, ok := bound[b.id()]; ok {
			router = router.Unbind(b)
			delete(bound, b.id())
		} else {
			router = router.Bind(b)
			bound[b.id()] = b
		}
		headers := table("a", "b", "x-c", "d")
		want := map[string]bool{}
		sorted := headers.Sorted()
		for _, b := range bound {
			if p := patternOf(b); p.matches(sorted) {
				want[p.to.Name] = true
			}
		}
		s.Reset(nil)
		s.SetHeaders(headers)
		got := map[string]bool{}
		for _, d := range router.Route(&s, nil) {
			got[d.Name] = true
		}
		require.Equal(t, want, got, "%v with %v", headers, bound)
		if len(bound) > 60 {
			for _, b := range bound {
				router = router.Unbind(b)
			}
			clear(bound)
			require.Equal(t, headersRouter{}, router, "what is unbound leaves nothing behind")
		}
	}
}

func TestHeadersAreDecodedFromTheMessage(t *testing.T) {
	t.Parallel()
	p := message.Properties{Headers: message.Table{f("b", 2), f("a", 1)}, ContentType: "text/plain"}
	props, err := p.Append(nil)
	require.NoError(t, err)
	m := message.New("amq.headers", "k", props, 0)
	defer m.Release()
	var s Subject
	require.Nil(t, s.Headers())
	s.Reset(m, "k")
	require.Same(t, m, s.Message())
	require.True(t, slices.Equal([]string{"k"}, s.Keys()))
	require.True(t, p.Headers.Equal(s.Headers()))
	w := newWorld(t, "q")
	w.bind("amq.headers", "q", "", f("a", 1), f("b", 2))
	x, err := w.Find("amq.headers")
	require.NoError(t, err)
	to, cacheable := w.Route(x, &s, nil)
	require.Equal(t, []string{"q"}, namesOf(to))
	require.False(t, cacheable)

	bad := message.New("amq.headers", "k", []byte{0x20, 0}, 0)
	defer bad.Release()
	s.Reset(bad)
	require.Nil(t, s.Headers())
	require.Nil(t, s.Headers())
}

func FuzzHeaderValues(fz *testing.F) {
	seed := func(t message.Table) {
		p, err := message.AppendTableBody(nil, t)
		require.NoError(fz, err)
		fz.Add(p)
	}
	seed(message.Table{f("a", 1), f("b", 1.0)})
	seed(message.Table{f("a", "x"), f("b", []byte("x")), f("c", message.Table{f("d", []any{1, nil, true})})})
	fz.Fuzz(func(t *testing.T, p []byte) {
		table, err := message.DecodeTable(p)
		if err != nil {
			return
		}
		for _, a := range table {
			_ = erlangTerm(a.Value)
			for _, b := range table {
				equal := looselyEqual(a.Value, b.Value)
				if equal != looselyEqual(b.Value, a.Value) {
					t.Fatalf("%v and %v: not symmetric", a.Value, b.Value)
				}
				if equal && string(appendLoose(nil, a.Value)) != string(appendLoose(nil, b.Value)) {
					t.Fatalf("%v and %v: equal, but not found by each other", a.Value, b.Value)
				}
			}
		}
	})
}
