package message

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func allProps() Properties {
	return Properties{
		ContentType: "text/plain", ContentEncoding: "gzip",
		Headers:      Table{{"k", int32(1)}},
		DeliveryMode: Persistent, Priority: 9,
		CorrelationID: "c", ReplyTo: "r", Expiration: "60000", MessageID: "m",
		Timestamp: time.Unix(1700000000, 0).UTC(),
		Type:      "t", UserID: "guest", AppID: "a", ClusterID: "x",
	}
}

func TestPropertiesHaveTheirPlaceAndFlag(t *testing.T) {
	t.Parallel()
	got, err := allProps().Append([]byte("before"))
	require.NoError(t, err)
	require.Equal(t, "before"+
		"\xff\xfc"+
		"\x0atext/plain"+"\x04gzip"+
		"\x00\x00\x00\x07\x01kI\x00\x00\x00\x01"+
		"\x02"+"\x09"+"\x01c"+"\x01r"+"\x0560000"+"\x01m"+
		"\x00\x00\x00\x00\x65\x53\xf1\x00"+
		"\x01t"+"\x05guest"+"\x01a"+"\x01x", string(got))
}

func TestEachPropertyAloneRoundTrips(t *testing.T) {
	t.Parallel()
	for prop := PropContentType; prop >= PropClusterID; prop >>= 1 {
		p := allProps()
		p.Clear(^prop)
		require.Equal(t, prop, p.Present(), "%s", prop)
		octets, err := p.Append(nil)
		require.NoError(t, err)
		require.Equal(t, uint16(prop), binary.BigEndian.Uint16(octets))
		got, err := DecodeProperties(octets)
		require.NoError(t, err)
		require.True(t, got.Has(prop))
		got.marked = 0
		require.Equal(t, p, got)
		got.Clear(prop)
		require.Equal(t, Properties{}, got)
	}
}

func TestPresentZerosStayPresent(t *testing.T) {
	t.Parallel()
	octets := append([]byte{0xff, 0xfc}, make([]byte, 2+4+2+4+8+4)...)
	p, err := DecodeProperties(octets)
	require.NoError(t, err)
	require.Equal(t, allProperties, p.Present())
	again, err := p.Append(nil)
	require.NoError(t, err)
	require.Equal(t, octets, again)

	p.Clear(allProperties)
	require.Zero(t, p.Present())
	p.Mark(PropPriority | 1)
	require.Equal(t, PropPriority, p.Present())
	again, err = p.Append(nil)
	require.NoError(t, err)
	require.Equal(t, []byte{0x08, 0x00, 0x00}, again)
}

func TestLowestTwoFlagsAreIgnored(t *testing.T) {
	t.Parallel()
	p, err := DecodeProperties([]byte{0x10, 0x03, 2})
	require.NoError(t, err)
	require.Equal(t, PropDeliveryMode, p.Present())
	_, err = DecodeProperties([]byte{0x10, 0x01, 0x80, 0x00, 2})
	require.ErrorIs(t, err, ErrBadProperties, "a second word of flags is never read")
}

func TestStringsOfPropertiesNeedNotBeUTF8(t *testing.T) {
	t.Parallel()
	p, err := DecodeProperties([]byte("\x80\x00\x02\xff\xfe"))
	require.NoError(t, err)
	require.Equal(t, "\xff\xfe", p.ContentType)
}

func TestBadPropertiesAreRefused(t *testing.T) {
	t.Parallel()
	for name, octets := range map[string]string{
		"nothing":              "",
		"half the flags":       "\x80",
		"no value":             "\x80\x00",
		"string past the end":  "\x80\x00\x03ab",
		"no table":             "\x20\x00",
		"table's length cut":   "\x20\x00\x00\x00\x00",
		"table past the end":   "\x20\x00\x00\x00\x00\x01",
		"table of 4 GiB":       "\x20\x00\xff\xff\xff\xff\x00",
		"no mode":              "\x10\x00",
		"no priority":          "\x18\x00\x02",
		"timestamp cut":        "\x00\x40\x00\x00\x00\x00\x00\x00\x00",
		"trailing octet":       "\x10\x00\x02\x00",
		"trailing, no flag":    "\x00\x00\x00",
		"bad table inside":     "\x20\x00\x00\x00\x00\x03\x01az",
		"bad table in a table": "\x20\x00\x00\x00\x00\x0a\x01aF\x00\x00\x00\x03\x01az",
	} {
		var s PropertyScan
		_, err := DecodeProperties([]byte(octets))
		require.ErrorIs(t, err, ErrBadProperties, name)
		require.ErrorIs(t, ScanProperties([]byte(octets), &s), ErrBadProperties, name)
		if strings.HasPrefix(name, "bad table") {
			require.ErrorIs(t, err, ErrBadTable)
		}
	}
}

func TestPropertiesThatCannotBeWrittenAreNamed(t *testing.T) {
	t.Parallel()
	dst, err := Properties{ReplyTo: strings.Repeat("r", 256)}.Append([]byte("dst"))
	require.ErrorIs(t, err, ErrBadProperties)
	require.ErrorContains(t, err, "reply-to of 256 octets, the longest is 255")
	require.Equal(t, "dst", string(dst))

	dst, err = Properties{Headers: Table{{"h", struct{}{}}}}.Append([]byte("dst"))
	require.ErrorIs(t, err, ErrBadProperties)
	require.ErrorIs(t, err, ErrBadTable)
	require.ErrorContains(t, err, `headers: field "h"`)
	require.Equal(t, "dst", string(dst))
}

func TestScanFindsWhatABrokerAsksFor(t *testing.T) {
	t.Parallel()
	octets, err := allProps().Append(nil)
	require.NoError(t, err)
	var s PropertyScan
	require.NoError(t, ScanProperties(octets, &s))
	require.Equal(t, PropertyScan{
		DeliveryMode: 2, HasDeliveryMode: true, Priority: 9, HasPriority: true,
		ReplyTo: []byte("r"), HasReplyTo: true, Expiration: []byte("60000"), HasExpiration: true,
		UserID: []byte("guest"), HasUserID: true, Headers: []byte("\x01kI\x00\x00\x00\x01"),
	}, s)

	require.NoError(t, ScanProperties([]byte{0, 0}, &s))
	require.Equal(t, PropertyScan{}, s, "nothing is left of an earlier scan")

	require.NoError(t, ScanProperties([]byte{0x20, 0, 0, 0, 0, 0}, &s))
	require.NotNil(t, s.Headers, "an empty table is a table")
}

func TestScanAllocatesNothing(t *testing.T) {
	p := allProps()
	p.Headers = sampleTable()
	octets, err := p.Append(nil)
	require.NoError(t, err)
	var s PropertyScan
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := ScanProperties(octets, &s); err != nil {
			t.Error(err)
		}
	}))
}

func TestMessageDecodesItsProperties(t *testing.T) {
	t.Parallel()
	octets, err := allProps().Append(nil)
	require.NoError(t, err)
	m := New("x", "k", octets, 0)
	defer m.Release()
	p, err := m.Properties()
	require.NoError(t, err)
	require.Equal(t, "guest", p.UserID)
}

func TestPropertySetNamesItsFirst(t *testing.T) {
	t.Parallel()
	require.Equal(t, "content-type", PropContentType.String())
	require.Equal(t, "cluster-id", PropClusterID.String())
	require.Equal(t, "headers", (PropHeaders | PropType).String())
	require.Equal(t, "none", PropertySet(3).String())
}

func FuzzProperties(f *testing.F) {
	p := allProps()
	octets, err := p.Append(nil)
	require.NoError(f, err)
	f.Add(octets)
	f.Add([]byte{0x10, 0x03, 2})
	f.Fuzz(func(t *testing.T, octets []byte) {
		var s PropertyScan
		scanErr := ScanProperties(octets, &s)
		p, err := DecodeProperties(octets)
		if (scanErr == nil) != (err == nil) {
			t.Fatalf("decode says %v, scan says %v", err, scanErr)
		}
		if err != nil {
			require.ErrorIs(t, err, ErrBadProperties)
			return
		}
		require.Equal(t, p.DeliveryMode, s.DeliveryMode)
		require.Equal(t, p.Priority, s.Priority)
		require.Equal(t, p.Expiration, string(s.Expiration))
		require.Equal(t, p.UserID, string(s.UserID))
		require.Equal(t, p.ReplyTo, string(s.ReplyTo))
		require.Equal(t, p.Has(PropHeaders), s.Headers != nil)
		again, err := p.Append(nil)
		require.NoError(t, err)
		require.Len(t, again, len(octets))
		second, err := DecodeProperties(again)
		require.NoError(t, err)
		require.True(t, p.Headers.Equal(second.Headers))
		second.Headers = p.Headers
		require.Equal(t, p, second)
	})
}

func BenchmarkScanProperties(b *testing.B) {
	headers := allProps()
	headers.Headers = sampleTable()
	for name, p := range map[string]Properties{
		"delivery-mode": {DeliveryMode: Persistent},
		"all":           headers,
	} {
		octets, err := p.Append(nil)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var s PropertyScan
			for b.Loop() {
				if err := ScanProperties(octets, &s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
