package policy

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// defined gives a policy for all with a definition in JSON.
func defined(t testing.TB, object string) Policy {
	t.Helper()
	d, err := ParseDefinition([]byte(object))
	require.NoError(t, err)
	return Policy{Name: "p", Definition: d}
}

func compiled(t testing.TB, k Kind, p Policy) *Compiled {
	t.Helper()
	c, err := Compile(k, p)
	require.NoError(t, err)
	return c
}

// The texts are RabbitMQ 3.10.8's.
func TestRefusedDefinitions(t *testing.T) {
	t.Parallel()
	for object, want := range map[string]string{
		`{}`:                                                 "no policy provided",
		`{"nope":5}`:                                         `[{<<"nope">>,5}] are not recognised policy settings`,
		`{"nope":5,"aaa":"x"}`:                               `[{<<"aaa">>,<<"x">>},{<<"nope">>,5}] are not recognised policy settings`,
		`{"message-ttl":-1,"nope":1}`:                        "-1 is not a valid message TTL",
		`{"message-ttl":"x"}`:                                `<<"x">> is not a valid message TTL`,
		`{"message-ttl":2.5}`:                                "2.5 is not a valid message TTL",
		`{"message-ttl":null}`:                               "null is not a valid message TTL",
		`{"message-ttl":true}`:                               "true is not a valid message TTL",
		`{"message-ttl":[1,"a"]}`:                            `[1,<<"a">>] is not a valid message TTL`,
		`{"message-ttl":{"a":1,"b":[]}}`:                     `#{<<"a">> => 1,<<"b">> => []} is not a valid message TTL`,
		`{"overflow":"é\u0001"}`:                             "<<195,169,1>> is not a valid overflow value",
		`{"overflow":5}`:                                     "5 is not a valid overflow value",
		`{"expires":0}`:                                      "0 is not a valid queue expiry",
		`{"max-length":"1","expires":0}`:                     "0 is not a valid queue expiry",
		`{"max-length":-1}`:                                  "-1 is not a valid maximum length",
		`{"max-length-bytes":-1}`:                            "-1 is not a valid maximum length in bytes",
		`{"max-in-memory-length":-1}`:                        "-1 is not a valid maximum memory in bytes",
		`{"max-in-memory-bytes":-1}`:                         "-1 is not a valid maximum memory in bytes",
		`{"dead-letter-exchange":1}`:                         "1 is not a valid dead letter exchange name",
		`{"dead-letter-routing-key":1}`:                      "1 is not a valid dead letter routing key",
		`{"dead-letter-strategy":"x"}`:                       `<<"x">> is not a valid dead letter strategy`,
		`{"delivery-limit":-1}`:                              "-1 is not a valid delivery limit",
		`{"alternate-exchange":1}`:                           "1 is not a valid alternate exchange name",
		`{"queue-mode":"x"}`:                                 `<<"x">> is not a valid queue-mode value`,
		`{"queue-version":3}`:                                "3 is not a valid queue-version value",
		`{"queue-leader-locator":"x"}`:                       `<<"x">> is not a valid queue leader locator value`,
		`{"initial-cluster-size":-1}`:                        "-1 is not a valid cluster size",
		`{"max-age":"1x"}`:                                   `<<"1x">> is not a valid max age`,
		`{"max-age":"0h"}`:                                   `<<"0h">> is not a valid max age`,
		`{"max-age":"h"}`:                                    `<<"h">> is not a valid max age`,
		`{"max-age":"1hh"}`:                                  `<<"1hh">> is not a valid max age`,
		`{"max-age":"1 h"}`:                                  `<<"1 h">> is not a valid max age`,
		`{"max-age":5}`:                                      "5 is not a valid max age",
		`{"consumer-timeout":-1}`:                            "-1 is not a valid consumer timeout",
		`{"ha-mode":"all","ha-params":1}`:                    `ha-mode="all" does not take parameters`,
		`{"ha-mode":"nodes"}`:                                `ha-mode="nodes" takes a list, none given`,
		`{"ha-mode":"exactly"}`:                              `ha-mode="exactly" takes an integer, none given`,
		`{"ha-mode":"x"}`:                                    `<<"x">> is not a valid ha-mode value`,
		`{"ha-mode":5}`:                                      "5 is not a valid ha-mode value",
		`{"ha-mode":[5]}`:                                    "[5] is not a valid ha-mode value",
		`{"ha-params":1}`:                                    "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown",
		`{"queue-master-locator":"x"}`:                       `<<"x">> invalid queue-master-locator value`,
		`{"alternate-exchange":1,"queue-master-locator":""}`: `<<>> invalid queue-master-locator value`,
		`{"queue-master-locator":5}`:                         "5 invalid queue-master-locator value",
		`{"ha-mode":"nodes","ha-params":[]}`:                 `ha-mode="nodes" list must be non-empty`,
		`{"ha-mode":"nodes","ha-params":[1,"a"]}`:            `ha-mode="nodes" takes a list of strings, [1] was not a string`,
		`{"ha-mode":"all","ha-sync-mode":"x"}`:               `ha-sync-mode must be "manual" or "automatic", got <<"x">>`,
		`{"ha-mode":"all","ha-sync-batch-size":0}`:           "ha-sync-batch-size takes an integer greater than 0, 0 given",
		`{"ha-mode":"all","ha-promote-on-failure":"x"}`:      `ha-promote-on-failure must be "always" or "when-synced", got <<"x">>`,
		`{"ha-mode":"all","ha-promote-on-shutdown":"x"}`:     `ha-promote-on-shutdown must be "always" or "when-synced", got <<"x">>`,
		`{"ha-mode":"x","max-length":-1,"nope":1}`:           "-1 is not a valid maximum length",
		`{"stream-max-segment-size-bytes":3000000001}`:       "3000000001 is not a valid segment size",
		`{"queue-master-locator":"random","ha-params":1}`:    "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown",
		`{"message-ttl":123456789012345678901234567890}`:     "1.2345678901234568e29 is not a valid message TTL",
		`{"max-length":1,"max-length":-2}`:                   "-2 is not a valid maximum length",
	} {
		_, err := Compile(User, defined(t, object))
		require.ErrorIs(t, err, ErrInvalid, object)
		require.EqualError(t, err, "Validation failed\n\n"+want+"\n", object)
	}
}

func TestDefinitionsThatAreTaken(t *testing.T) {
	t.Parallel()
	for _, object := range []string{
		`{"message-ttl":0}`, `{"expires":1}`, `{"max-length":0,"max-length-bytes":0}`, `{"overflow":"reject-publish-dlx"}`,
		`{"dead-letter-exchange":"","dead-letter-routing-key":"","dead-letter-strategy":"at-least-once"}`,
		`{"delivery-limit":0,"max-in-memory-length":0,"max-in-memory-bytes":9223372036854775807}`,
		`{"queue-mode":"lazy","queue-version":2,"queue-master-locator":"min-masters"}`, `{"alternate-exchange":""}`,
		`{"max-age":"007D","stream-max-segment-size-bytes":3000000000,"initial-cluster-size":0,"queue-leader-locator":"balanced"}`,
		`{"ha-mode":"all","ha-sync-mode":"automatic","ha-sync-batch-size":1,"ha-promote-on-shutdown":"always","ha-promote-on-failure":"when-synced"}`,
		`{"ha-mode":"exactly","ha-params":2}`, `{"ha-mode":"nodes","ha-params":["rabbit@a"]}`,
		`{"consumer-timeout":0}`,
	} {
		p := defined(t, object)
		c := compiled(t, User, p)
		require.Equal(t, p.Definition, c.Policy().Definition, object)
		require.Equal(t, All, c.Policy().ApplyTo)
	}
}

func TestOperatorsHaveFewKeys(t *testing.T) {
	t.Parallel()
	compiled(t, Operator, defined(t, `{"delivery-limit":1,"expires":1,"max-in-memory-bytes":1,"max-in-memory-length":1,
		"max-length":1,"max-length-bytes":1,"message-ttl":1}`))
	for object, want := range map[string]string{
		`{}`:                       "no policy provided",
		`{"overflow":"drop-head"}`: `[{<<"overflow">>,<<"drop-head">>}] are not recognised policy settings`,
		`{"overflow":"drop-head","max-length":-1}`:   "-1 is not a valid maximum length",
		`{"ha-mode":"all","dead-letter-exchange":1}`: `[{<<"dead-letter-exchange">>,1},{<<"ha-mode">>,<<"all">>}] are not recognised policy settings`,
	} {
		_, err := Compile(Operator, defined(t, object))
		require.EqualError(t, err, "Validation failed\n\n"+want+"\n", object)
	}
}

func TestEverythingThatIsWrongIsSaid(t *testing.T) {
	t.Parallel()
	_, err := Compile(User, Policy{Pattern: "(", ApplyTo: "foo"})
	require.EqualError(t, err, "Validation failed\n\nno policy provided\n"+
		"apply-to 'foo' unrecognised; should be 'queues', 'exchanges' or 'all'\n"+
		"pattern should be regular expression but is invalid: {\"missing )\",1}\n")
}

func TestRefusedPatterns(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{ // RabbitMQ's
		"(":    `{"missing )",1}`,
		"a(b":  `{"missing )",3}`,
		"[":    `{"missing terminating ] for character class",1}`,
		"*a":   `{"nothing to repeat",0}`,
		`a\`:   `{"\\ at end of pattern",2}`,
		")":    `{"unmatched parentheses",0}`,
		"(a))": `{"unmatched parentheses",3}`,
	} {
		_, err := Compile(User, Policy{Pattern: pattern, Definition: message.Table{{Name: "expires", Value: 1}}})
		require.EqualError(t, err, "Validation failed\n\npattern should be regular expression but is invalid: "+want+"\n", pattern)
	}
	// What RabbitMQ takes, or words otherwise.
	for pattern, want := range map[string]string{`(a)\1`: "escape", "a{2,1}": "repeat"} {
		_, err := Compile(User, Policy{Pattern: pattern, Definition: message.Table{{Name: "expires", Value: 1}}})
		require.ErrorContains(t, err, want)
	}
}

func TestADefinitionThatSaysAThingTwiceIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Compile(User, Policy{Definition: message.Table{{Name: "expires", Value: 1}, {Name: "max-length", Value: 1}, {Name: "expires", Value: 1}}})
	require.ErrorContains(t, err, `[<<"expires">>] duplicate keys not allowed`)
}

// Two definitions are the same whatever the order of their keys and the Go types of
// their numbers, and a policy does not change with the table it was made of.
func TestEqualPolicies(t *testing.T) {
	t.Parallel()
	d := message.Table{{Name: "max-length", Value: uint8(5)}, {Name: "dead-letter-exchange", Value: []byte("x")}}
	a := compiled(t, User, Policy{Name: "p", ApplyTo: All, Definition: d})
	d[0].Value = 7
	b := compiled(t, User, defined(t, `{"dead-letter-exchange":"x","max-length":5}`))
	require.True(t, a.Equal(b))
	require.Equal(t, User, a.Kind())
	for _, change := range []func(*Policy){
		func(p *Policy) { p.Name = "q" },
		func(p *Policy) { p.Pattern = "q" },
		func(p *Policy) { p.ApplyTo = Queues },
		func(p *Policy) { p.Priority = 1 },
		func(p *Policy) { p.Definition = message.Table{{Name: "max-length", Value: 5}} },
	} {
		p := a.Policy()
		change(&p)
		require.False(t, a.Equal(compiled(t, User, p)))
	}
	one := defined(t, `{"max-length":5}`)
	require.False(t, compiled(t, User, one).Equal(compiled(t, Operator, one)))
}

func TestDefinitionsThatAreNoJSONObject(t *testing.T) {
	t.Parallel()
	for _, object := range []string{"", "5", `"x"`, "[]", "{", `{"a":1}}`, `{"a":1} {}`, `{"a":1e999}`} {
		_, err := ParseDefinition([]byte(object))
		require.ErrorContains(t, err, "policy definition: ", object)
	}
	d, err := ParseDefinition([]byte("null"))
	require.NoError(t, err)
	require.Empty(t, d)
}

// Whatever is in a policy, it is taken or refused with a reason, and what is taken can
// be merged, matched and taken again.
func FuzzCompile(f *testing.F) {
	f.Add("(", "queues", `{"max-length":1}`, "q")
	f.Add("^q", "", `{"message-ttl":{"a":[null,1.5]},"nope":true}`, "q")
	f.Add(".", "all", `{"ha-mode":"nodes","ha-params":["a"],"max-age":"1h","expires":5}`, "\xff")
	f.Add("0", "\n\n\n", "{}", "0")
	f.Fuzz(func(t *testing.T, pattern, applyTo, object, name string) {
		d, err := ParseDefinition([]byte(object))
		if err != nil {
			return
		}
		for _, k := range []Kind{User, Operator} {
			p := Policy{Name: name, Pattern: pattern, ApplyTo: ApplyTo(applyTo), Definition: d}
			c, err := Compile(k, p)
			if err != nil {
				require.ErrorIs(t, err, ErrInvalid)
				reasons, ok := strings.CutPrefix(err.Error(), "Validation failed\n\n")
				require.True(t, ok)
				require.NotEmpty(t, reasons)
				if !strings.Contains(pattern+applyTo+name, "\n") && !strings.Contains(object, `\`) {
					require.NotContains(t, reasons, "\n\n", "one of them is empty")
				}
				continue
			}
			again, err := Compile(k, c.Policy())
			require.NoError(t, err)
			require.True(t, c.Equal(again))
			s := (&Set{}).With(c)
			_, err = json.Marshal(s.ForQueue(name, []string{"max-length", "expires"}).Definition())
			require.NoError(t, err)
			s.ForExchange(name)
		}
	})
}
