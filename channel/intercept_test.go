package channel_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/intercept"
	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// intercepting gives a set of one interceptor.
func intercepting[M intercept.Method](t testing.TB, f func(intercept.Client, M) error) *intercept.Set {
	t.Helper()
	s, err := intercept.NewSet(slog.New(slog.DiscardHandler), intercept.On(f))
	require.NoError(t, err)
	return s
}

// with opens a channel with an interceptor of one method.
func with[M intercept.Method](w *world, f func(M) error) *client {
	w.t.Helper()
	return w.open(func(c *channel.Config) {
		c.Interceptors = intercepting(w.t, func(_ intercept.Client, m M) error { return f(m) })
	})
}

// The world checks in the end that no reference is left.
func TestInterceptedPublishesLeaveNoReference(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*intercept.Publish) error
		want []string
		err  string
	}{
		"as it was":  {func(*intercept.Publish) error { return nil }, []string{"x"}, ""},
		"looked at":  {func(p *intercept.Publish) error { _ = p.Content.Body(); return nil }, []string{"x"}, ""},
		"replaced":   {func(p *intercept.Publish) error { p.Content.SetBody([]byte("y")); return nil }, []string{"y"}, ""},
		"dropped":    {func(p *intercept.Publish) error { p.Drop = true; return nil }, []string{}, ""},
		"refused":    {func(p *intercept.Publish) error { return reply.Errorf(reply.NotFound, "no") }, []string{}, "NOT_FOUND - no"},
		"panicked":   {func(p *intercept.Publish) error { panic("oops") }, []string{}, "INTERNAL_ERROR"},
		"no content": {func(p *intercept.Publish) error { p.Content = nil; return nil }, []string{}, "content out = none"},
		"both replaced and wrong": {func(p *intercept.Publish) error {
			p.Content.SetBody([]byte("y"))
			p.Exchange = "nowhere"
			return nil
		}, []string{}, "NOT_FOUND - no exchange 'nowhere' in vhost 'v'"},
		"both replaced and dropped": {func(p *intercept.Publish) error {
			p.Content.SetBody([]byte("y"))
			p.Drop = true
			return nil
		}, []string{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := with(w, test.do)
				c.queues("q")
				err := c.try(publish{key: "q", body: "x"})
				if test.err == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, test.err)
				}
				require.Equal(t, test.want, c.content("q"))
			})
		})
	}
}

func TestDroppedPublishesAreConfirmedInTheirTurn(t *testing.T) {
	bubble(t, func(w *world) {
		c := with(w, func(p *intercept.Publish) error {
			p.Drop = p.RoutingKey == "drop"
			return nil
		})
		c.queues("q")
		c.ok(c.ConfirmSelect())
		c.publish(publish{key: "drop", mandatory: true})
		c.sees("ack 1")
		c.publish(publish{key: "q"})
		c.sees("ack 2")
		c.publish(publish{key: "drop"})
		c.sees("ack 3")
		require.Equal(t, []string{""}, c.content("q"))
	})
}

// A body that was too large to be kept is refused before anybody looks at it.
func TestAPublishOverTheLimitIsNotShown(t *testing.T) {
	bubble(t, func(w *world) {
		c := with(w, func(*intercept.Publish) error { return reply.Errorf(reply.NotFound, "seen") })
		c.refused(c.try(publish{key: "q", size: 1<<20 + 1}),
			"PRECONDITION_FAILED - message size 1048577 is larger than configured max size 1048576")
	})
}

// What an interceptor makes of a method is checked as if it had come like that.
func TestRightsAreCheckedAfterInterceptors(t *testing.T) {
	bubble(t, func(w *world) {
		w.open().queues("mine", "other")
		c := with(w, func(m *intercept.QueueDelete) error { m.Queue = "other"; return nil })
		w.permit("guest", "^mine$", ".*", ".*")
		c.refused(c.deleteQueue("mine", false, false), "ACCESS_REFUSED - access to queue 'other' in vhost 'v' refused for user 'guest'")
		w.permit("guest", "^other$", ".*", ".*")
		c.ok(c.deleteQueue("mine", false, false))
		w.permit("guest", ".*", ".*", ".*")
	})
}

// Who has no queue to mean by an empty name is told so before any interceptor is
// asked; those who have see its name, and names still lose their line ends later.
func TestShortcutsAreExpandedBeforeInterceptors(t *testing.T) {
	bubble(t, func(w *world) {
		var seen []intercept.Method
		set, err := intercept.NewSet(slog.New(slog.DiscardHandler), all(func(m intercept.Method) {
			seen = append(seen, m)
		}))
		require.NoError(t, err)
		c := w.open(func(c *channel.Config) { c.Interceptors = set })
		const none = "NOT_FOUND - no previously declared queue"
		c.refused(c.get("", true), none)
		c.refused(c.tryConsume(channel.Consume{}), none)
		c.refused(c.BindQueue("", "amq.direct", "k", nil), none)
		c.refused(c.UnbindQueue("", "amq.direct", "k", nil), none)
		_, err = c.PurgeQueue("")
		c.refused(err, none)
		c.refused(c.deleteQueue("", false, false), none)
		require.Empty(t, seen)

		c.queues("q\n")
		c.ok(c.get("", true))
		c.ok(c.tryConsume(channel.Consume{Tag: "t"}))
		c.ok(c.Cancel("t"))
		c.ok(c.BindQueue("", "amq.direct", "", message.Table{{Name: "a", Value: "b"}}))
		c.ok(c.UnbindQueue("", "amq.direct", "k", nil))
		_, err = c.PurgeQueue("")
		c.ok(err)
		c.ok(c.deleteQueue("", true, true))
		require.Equal(t, []intercept.Method{
			&intercept.QueueDeclare{Queue: "q\n"},
			&intercept.Get{Queue: "q", NoAck: true},
			&intercept.Consume{Queue: "q", Tag: "t"},
			&intercept.QueueBind{Queue: "q", Exchange: "amq.direct", RoutingKey: "q", Arguments: message.Table{{Name: "a", Value: "b"}}},
			&intercept.QueueUnbind{Queue: "q", Exchange: "amq.direct", RoutingKey: "k"},
			&intercept.QueuePurge{Queue: "q"},
			&intercept.QueueDelete{Queue: "q", IfUnused: true, IfEmpty: true},
		}, seen)
	})
}

// all is an interceptor of everything.
type all func(intercept.Method)

func (all) Methods() []string { return intercept.Names() }

func (a all) Intercept(_ intercept.Client, m intercept.Method) (intercept.Method, error) {
	a(m)
	return m, nil
}
