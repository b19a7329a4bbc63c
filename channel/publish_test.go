package channel_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/queue"
)

// Contract 03 §6. Each row fails its own check and those below it.
func TestPublishChecksInOrder(t *testing.T) {
	// bad has properties that every check from 8 on refuses.
	bad := message.Properties{
		ReplyTo: "amq.rabbitmq.reply-to", UserID: "bob", Expiration: "abc", DeliveryMode: 3,
		Headers: args("CC", "k", "BCC", "k"),
	}
	without := func(set message.PropertySet) message.Properties {
		p := bad
		p.Clear(set)
		return p
	}
	noReply := message.PropReplyTo
	noUser := noReply | message.PropUserID
	noExpiration := noUser | message.PropExpiration
	goodCC := without(noExpiration)
	goodCC.Headers = args("BCC", message.Table{}, "CC", []any{int32(1)})
	goodBCC := without(noExpiration | message.PropHeaders)
	reserved := without(message.PropUserID | message.PropHeaders | message.PropDeliveryMode | message.PropReplyTo)
	reserved.Expiration = "10"

	do := func(p publish) func(*client) error { return func(c *client) error { return c.try(p) } }
	x := func(o *client) { o.exchange(channel.ExchangeDeclare{Name: "x", Type: "topic", Internal: true}) }
	topic := func(o *client) { o.w.openAs("", "", ""); o.w.permitTopic("u", "^a", ".*") }
	const undecodable = "\x10\x00"

	runChecks(t, []check{
		{name: "1 immediate", rights: []string{"", "", ""}, do: do(publish{exchange: "x", immediate: true, size: 1<<20 + 1, props: bad}),
			want: "NOT_IMPLEMENTED - immediate=true"},
		{name: "2 the size", rights: []string{"", "", ""}, do: do(publish{exchange: "x", size: 1<<20 + 1, props: bad}),
			want: "PRECONDITION_FAILED - message size 1048577 is larger than configured max size 1048576"},
		{name: "3 the right to write", rights: []string{".*", "", ".*"}, do: do(publish{exchange: "x", props: bad}), want: noAccess("exchange", "x")},
		{name: "3 the right to write to the default exchange", rights: []string{".*", "", ".*"}, do: do(publish{props: bad}),
			want: noAccess("exchange", "amq.default")},
		{name: "4 the exchange", do: do(publish{exchange: "x", props: bad}), want: "NOT_FOUND - no exchange 'x' in vhost 'v'"},
		{name: "4 CR and LF count", do: do(publish{exchange: "amq.direct\n"}), want: "NOT_FOUND - no exchange 'amq.direct\n' in vhost 'v'"},
		{name: "5 internal", given: x, do: do(publish{exchange: "x", props: bad}),
			want: "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost 'v'"},
		{name: "6 the right to write to the topic", given: topic, do: do(publish{exchange: "amq.topic", key: "b", rawProps: []byte(undecodable)}),
			want: "ACCESS_REFUSED - access to topic 'b' in exchange 'amq.topic' in vhost 'v' refused for user 'u'"},
		{name: "6 only at topic exchanges, and with that key", given: topic,
			do: func(c *client) error {
				c.publish(publish{exchange: "amq.direct", key: "b"})
				return c.try(publish{exchange: "amq.topic", key: "a.b"})
			}},
		{name: "7 the properties", do: do(publish{exchange: "amq.topic", rawProps: []byte(undecodable)}), want: "INTERNAL_ERROR"},
		{name: "8 direct reply-to", do: do(publish{exchange: "amq.topic", props: bad}),
			want: "PRECONDITION_FAILED - fast reply consumer does not exist"},
		{name: "9 the user-id", do: do(publish{exchange: "amq.topic", props: without(noReply)}),
			want: "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'u'"},
		{name: "10 the expiration", do: do(publish{exchange: "amq.topic", props: without(noUser)}),
			want: "PRECONDITION_FAILED - invalid expiration 'abc': no_integer"},
		{name: "11 CC", do: do(publish{exchange: "amq.topic", props: without(noExpiration)}),
			want: `PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}`},
		{name: "11 BCC", do: do(publish{exchange: "amq.topic", props: goodCC}),
			want: `PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"BCC",table}`},
		{name: "12 the delivery-mode", do: do(publish{exchange: "amq.topic", props: goodBCC}),
			want: "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}"},
		{name: "12 delivery-mode 0", do: do(publish{exchange: "amq.topic", rawProps: []byte("\x10\x00\x00")}),
			want: "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,0}"},
		{name: "only its right", rights: []string{"", "^amq.topic$", ""}, do: do(publish{exchange: "amq.topic", props: message.Properties{
			UserID: "u", ReplyTo: "amq.rabbitmq.reply-to.x", DeliveryMode: 2, Priority: 255, Headers: args("cc", "k"),
		}})},
	})
}

func TestMessageSizeAtTheCeiling(t *testing.T) {
	bubble(t, func(w *world) {
		const ceiling = 512 << 20
		c := w.open(func(cfg *channel.Config) { cfg.MaxMessageSize = ceiling })
		c.refused(c.try(publish{size: ceiling + 1}),
			"PRECONDITION_FAILED - message size 536870913 is larger than max size 536870912")
	})
}

func TestImpersonatorMayPublishAsAnybody(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open(func(cfg *channel.Config) { cfg.Impersonator = true })
		c.publish(publish{props: message.Properties{UserID: "bob"}})
	})
}

func TestExpirationTexts(t *testing.T) {
	t.Parallel()
	const good = ""
	bad := func(why string) string { return "PRECONDITION_FAILED - invalid expiration '%s': " + why }
	for expiration, want := range map[string]string{
		"0":                     good,
		"-0":                    good,
		"+12":                   good,
		"007":                   good,
		"315360000000":          good,
		"315360000001":          bad("{value_too_large,315360000001}"),
		"+315360000001":         bad("{value_too_large,315360000001}"),
		"00999999999999":        bad("{value_too_large,999999999999}"),
		"99999999999999999999":  bad("{value_too_large,\n" + strings.Repeat(" ", 44) + "99999999999999999999}"),
		"-1":                    bad("{value_negative,-1}"),
		"-01":                   bad("{value_negative,-1}"),
		"-99999999999999999999": bad("{value_negative,\n" + strings.Repeat(" ", 45) + "-99999999999999999999}"),
		"":                      bad("no_integer"),
		"abc":                   bad("no_integer"),
		" 10":                   bad("no_integer"),
		"+":                     bad("no_integer"),
		"-":                     bad("no_integer"),
		"+-1":                   bad("no_integer"),
		"10 ":                   bad(`{leftover_string," "}`),
		"10s":                   bad(`{leftover_string,"s"}`),
		"1.5":                   bad(`{leftover_string,".5"}`),
		"-1x":                   bad(`{leftover_string,"x"}`),
		"1e9":                   bad(`{leftover_string,"e9"}`),
		`1"`:                    bad(`{leftover_string,"\""}`),
		`1\`:                    bad(`{leftover_string,"\\"}`),
		"1\n":                   bad(`{leftover_string,"\n"}`),
		"1é":                    bad(`{leftover_string,"é"}`),
		"1\x01":                 bad(`{leftover_string,[1]}`),
		"1a\x7f":                bad(`{leftover_string,[97,127]}`),
	} {
		t.Run(expiration, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.open()
				props := message.Properties{Expiration: expiration}
				props.Mark(message.PropExpiration)
				if want == good {
					require.NoError(t, c.try(publish{props: props}))
					return
				}
				c.refused(c.try(publish{props: props}), strings.ReplaceAll(want, "%s", expiration))
			})
		})
	}
}

// A refused publish must not be remembered as one whose properties are good.
func TestRefusedPropertiesAreRefusedAgain(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.publish(publish{props: message.Properties{UserID: "guest"}})
		for range 2 {
			c.refused(c.try(publish{props: message.Properties{UserID: "gues"}}),
				"PRECONDITION_FAILED - user_id property set to 'gues' but authenticated user was 'guest'")
			c.refused(c.try(publish{props: message.Properties{DeliveryMode: 3}}),
				"PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}")
		}
		c.publish(publish{props: message.Properties{UserID: "guest"}})
	})
}

// peek takes a message from a queue for as long as look looks at it.
func (c *client) peek(q string, look func(r queue.GetReply)) {
	c.w.t.Helper()
	c.ok(c.Get(q, true, func(g channel.Got) {
		require.NotNil(c.w.t, g.Reply.Msg, "queue %s is empty", q)
		look(g.Reply)
		g.Reply.Msg.Release()
	}))
}

func TestCCAndBCC(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("to", "cc", "bcc")
		c.publish(publish{key: "to", body: "a", props: message.Properties{
			ContentType: "text/plain", DeliveryMode: 2, Priority: 7,
			Headers: args("a", int32(1), "BCC", []any{"bcc", true}, "CC", []any{"cc", int32(5), "cc", "to", []byte("bcc2")}, "z", nil),
		}})
		for _, q := range []string{"to", "cc", "bcc"} {
			c.Flush()
			require.Equal(t, 1, w.stat(q).Ready, "copies in %s", q)
			c.peek(q, func(r queue.GetReply) {
				w.track(r.Msg)
				require.Equal(t, "a", string(r.Msg.Body()))
				require.Equal(t, "", r.Msg.Exchange())
				require.Equal(t, "to", r.Msg.RoutingKey(), "the primary key, whichever led here")
				require.True(t, r.Msg.Persistent())
				require.EqualValues(t, 7, r.Msg.Priority())
				p, err := r.Msg.Properties()
				require.NoError(t, err)
				require.Equal(t, "text/plain", p.ContentType)
				require.Equal(t, args("a", int32(1), "CC", []any{"cc", int32(5), "cc", "to", []byte("bcc2")}, "z", nil), p.Headers)
			})
		}
	})
}

func TestBCCAloneLeavesAnEmptyHeadersTable(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("to", "bcc")
		c.publish(publish{key: "to", props: message.Properties{Headers: args("BCC", []any{"bcc"})}})
		c.peek("bcc", func(r queue.GetReply) {
			p, err := r.Msg.Properties()
			require.NoError(t, err)
			require.Empty(t, p.Headers)
			require.True(t, p.Has(message.PropHeaders))
		})
	})
}

func TestCCOnEveryTypeThatUsesKeys(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		for _, x := range []string{"amq.direct", "amq.topic", "amq.fanout", "amq.headers"} {
			c.queues("q", "r")
			c.ok(c.BindQueue("q", x, "a", args("x-match", "any", "CC", nil)))
			c.ok(c.BindQueue("r", x, "b", args("x-match", "any", "BCC", nil)))
			c.publish(publish{exchange: x, key: "no", body: "m", props: message.Properties{
				Headers: args("CC", []any{"a"}, "BCC", []any{"b"}),
			}})
			c.Flush()
			got := [2][]string{c.content("q"), c.content("r")}
			want := [2][]string{{"m"}, {"m"}}
			if x == "amq.headers" {
				want[1] = []string{} // BCC is gone before anybody matches it
			}
			require.Equal(t, want, got, x)
			c.ok(c.deleteQueue("q", false, false))
			c.ok(c.deleteQueue("r", false, false))
		}
	})
}

// The keys of CC must not stay in the memory of routes.
func TestCCDoesNotStayInTheRoute(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("to", "cc")
		cc := message.Properties{Headers: args("CC", []any{"cc"})}
		c.put("to", "1")
		c.publish(publish{key: "to", body: "2", props: cc})
		c.put("to", "3")
		c.publish(publish{key: "to", body: "4", props: cc})
		c.Flush()
		require.Equal(t, []string{"1", "2", "3", "4"}, c.content("to"))
		require.Equal(t, []string{"2", "4"}, c.content("cc"))
	})
}

func TestMandatory(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.exchange(channel.ExchangeDeclare{Name: "x", Type: "fanout", Arguments: args("alternate-exchange", "amq.fanout")})
		c.publish(publish{key: "q", body: "a", mandatory: true})
		c.publish(publish{key: "no", body: "b"})
		c.publish(publish{key: "no", body: "c", mandatory: true})
		c.publish(publish{exchange: "x", key: "k", body: "d", mandatory: true})
		c.sees("return 312 /no c", "return 312 x/k d")

		// BCC is not returned, and a copy that somebody gets is route enough.
		c.publish(publish{key: "no", body: "e", mandatory: true, props: message.Properties{Headers: args("CC", []any{"q"})}})
		c.sees()
		bcc := message.Properties{Headers: args("BCC", []any{"no2"})}
		c.publish(publish{key: "no", body: "f", mandatory: true, props: bcc})
		c.sees("return 312 /no f")
		require.Equal(t, []string{"a", "e"}, c.content("q"))
	})
}

func TestPublishGoesThroughAlternateExchange(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.open()
		c.queues("q")
		c.exchange(channel.ExchangeDeclare{Name: "x", Type: "direct", Arguments: args("alternate-exchange", "amq.fanout")})
		c.ok(c.BindQueue("q", "amq.fanout", "", nil))
		c.publish(publish{exchange: "x", key: "k", body: "a", mandatory: true})
		c.peek("q", func(r queue.GetReply) {
			require.Equal(t, "x", r.Msg.Exchange())
			require.Equal(t, "k", r.Msg.RoutingKey())
		})
		c.sees()
	})
}
