package wire

import "strconv"

// maxErlang bounds the text made of octets. Reply texts end at 255 octets, so
// that what is left out is never seen there.
const maxErlang = 512

// ErlangOctets prints octets in Erlang's syntax as a list of decimal numbers,
// such as <<0,20,0,10>>, whatever they are. A text of more than about 512
// octets is cut short with "...>>".
func ErlangOctets(p []byte) string {
	out := append(make([]byte, 0, min(4*len(p)+4, maxErlang+16)), "<<"...)
	for i, b := range p {
		if i > 0 {
			out = append(out, ',')
		}
		if len(out) >= maxErlang {
			out = append(out, "..."...)
			break
		}
		out = strconv.AppendUint(out, uint64(b), 10)
	}
	return string(append(out, ">>"...))
}

// ErlangBinary prints octets as Erlang's ~p does: as a string, such as
// <<"abc">>, if all of them are printable in Latin-1 (which then stands in the
// text unchanged, so that it need not be UTF-8), as ErlangOctets otherwise and
// if there are none. A text of more than about 512 octets is cut short.
func ErlangBinary(p []byte) string {
	if len(p) == 0 {
		return "<<>>"
	}
	out := append(make([]byte, 0, min(2*len(p)+6, maxErlang+16)), `<<"`...)
	cut := false
	for _, b := range p {
		escaped, printable := erlangEscape(b)
		switch {
		case !printable:
			return ErlangOctets(p)
		case len(out) >= maxErlang:
			cut = true // the rest is looked at only for whether it is printable
		case escaped != 0:
			out = append(out, '\\', escaped)
		default:
			out = append(out, b)
		}
	}
	if cut {
		out = append(out, "..."...)
	}
	return string(append(out, `">>`...))
}

// erlangEscape says whether Erlang takes an octet for printable, and gives the
// character that stands for it behind a backslash, if it needs one.
func erlangEscape(b byte) (escaped byte, printable bool) {
	switch b {
	case '"', '\\':
		return b, true
	case '\n':
		return 'n', true
	case '\r':
		return 'r', true
	case '\t':
		return 't', true
	case '\v':
		return 'v', true
	case '\b':
		return 'b', true
	case '\f':
		return 'f', true
	case 0x1b:
		return 'e', true
	}
	return 0, b >= ' ' && b <= '~' || b >= 0xa0
}
