package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableRoundTrip(t *testing.T) {
	t.Parallel()
	v := &vars{prefix: "pre."}
	tab, err := v.table(`{a=1, b="x y", t=true, n=void, l=5000000000, by=b(-1), ub=B(255), s=s(-3), us=u(65535), i=i(4294967295), f=f(1.5), d=d(-2.25), D=D(2,314), T=T(12), x=x("\x00\xff"), A=[1, "two", {k=[]}], F={q=~name}}`)
	require.NoError(t, err)
	var w encoder
	require.NoError(t, w.table(tab))
	r := &decoder{b: w.Bytes()}
	got := r.table()
	require.NoError(t, r.err)
	require.Empty(t, r.b)
	require.Equal(t, tab, got)
	require.Equal(t, "pre.name", got[len(got)-1].value.v.(table)[0].value.v)
}

func TestUnknownTagsAreSentAsRawBytes(t *testing.T) {
	t.Parallel()
	v := &vars{}
	val, err := v.value(`Z("\x01\x02")`)
	require.NoError(t, err)
	var w encoder
	require.NoError(t, w.value(val))
	require.Equal(t, "Z\x01\x02", w.String())
}

func TestEveryMethodRoundTripsAndACutOneIsRefused(t *testing.T) {
	t.Parallel()
	for name, m := range methodsByName {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fields{}
			for i, fd := range m.fields {
				switch fd.domain {
				case "bit":
					f[fd.name] = i%2 == 0
				case "shortstr", "longstr":
					f[fd.name] = fd.name
				case "table":
					f[fd.name] = table{{"k", value{'I', int64(i)}}}
				default:
					f[fd.name] = uint64(i)
				}
			}
			p, err := encodeMethod(m, f)
			require.NoError(t, err)
			gotMethod, got, err := decodeMethod(p)
			require.NoError(t, err)
			require.Same(t, m, gotMethod)
			require.Equal(t, f, got)
			if len(p) > 4 {
				_, _, err = decodeMethod(p[:len(p)-1])
				require.Error(t, err)
			}
			_, _, err = decodeMethod(append(p, 0))
			require.ErrorContains(t, err, "left over")
		})
	}
}

func TestMethodSpecIsWellFormed(t *testing.T) {
	t.Parallel()
	var w encoder
	for name, m := range methodsByName {
		require.Same(t, m, methodsByKey[methodKey{m.class, m.id}], name)
		require.Equal(t, m.content, name == "basic.publish" || name == "basic.return" || name == "basic.deliver" || name == "basic.get-ok", name)
		for _, fd := range m.fields {
			if fd.domain != "bit" {
				require.NoError(t, w.field(fd.domain, nil), "%s %s", name, fd.name)
			}
		}
	}
	require.Len(t, methodsByKey, len(methodsByName))
}

func TestHeaderRoundTrip(t *testing.T) {
	t.Parallel()
	f := fields{
		"content-type": "a/b", "priority": uint64(3), "headers": table{{"x", value{'S', "y"}}},
		"timestamp": uint64(9), "cluster-id": "",
	}
	p, err := encodeHeader(basicClass, 0, 77, f)
	require.NoError(t, err)
	got, err := decodeHeader(p)
	require.NoError(t, err)
	require.Equal(t, contentHeader{class: basicClass, size: 77, props: f}, got)
	_, err = decodeHeader(p[:len(p)-1])
	require.Error(t, err)
}

func FuzzDecode(f *testing.F) {
	for _, m := range methodsByName {
		if p, err := encodeMethod(m, nil); err == nil {
			f.Add(p)
		}
	}
	p, err := encodeHeader(basicClass, 0, 1, fields{"headers": table{{"x", value{'A', []value{{'t', true}}}}}})
	require.NoError(f, err)
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		if m, args, err := decodeMethod(p); err == nil {
			// Unused bits and the truth of a byte may differ; the meaning may not.
			again, err := encodeMethod(m, args)
			require.NoError(t, err)
			require.Len(t, again, len(p))
		}
		if _, err := decodeHeader(p); err == nil {
			require.GreaterOrEqual(t, len(p), 14)
		}
	})
}
