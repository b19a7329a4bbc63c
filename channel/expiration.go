package channel

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/warrenmq/warren/reply"
)

// maxExpiration is the longest TTL RabbitMQ takes, in milliseconds: ten years.
const maxExpiration = 315360000000

// parseExpiration gives an expiration in milliseconds. It refuses what is none, in
// the words of rabbit_basic:parse_expiration/1: digits after an optional sign,
// as Erlang's string:to_integer reads them.
func parseExpiration(s string) (ms int64, err error) {
	text := "invalid expiration '" + s + "': "
	bad := func(why, what string) (int64, error) {
		return 0, reply.Errorf(reply.PreconditionFailed, "%s", reply.ErlangPair(text, why, what))
	}
	sign := 0
	if s != "" && (s[0] == '+' || s[0] == '-') {
		sign = 1
	}
	rest := strings.TrimLeft(s[sign:], "0123456789")
	if rest == s[sign:] {
		return 0, reply.Errorf(reply.PreconditionFailed, "%sno_integer", text)
	}
	if rest != "" {
		return bad("leftover_string", erlangString(rest))
	}
	n, _ := new(big.Int).SetString(s, 10) // of a sign and digits, as they are there
	switch {
	case n.Sign() < 0:
		return bad("value_negative", n.String())
	case n.Cmp(big.NewInt(maxExpiration)) > 0:
		return bad("value_too_large", n.String())
	}
	return n.Int64(), nil
}

// erlangString prints octets as Erlang's ~p does: as a string if Latin-1 has a
// character for each of them, else as a list of numbers.
func erlangString(s string) string {
	quoted := []byte{'"'}
	for i := range len(s) {
		c := s[i]
		if e := strings.IndexByte("\"\\\n\r\t\v\b\f\x1b", c); e >= 0 {
			quoted = append(quoted, '\\', `"\nrtvbfe`[e])
			continue
		}
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return strings.ReplaceAll(fmt.Sprint([]byte(s)), " ", ",")
		}
		quoted = append(quoted, c)
	}
	return string(append(quoted, '"'))
}
