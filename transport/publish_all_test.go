package transport

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/limiter"
	"github.com/warrenmq/warren/reply"
)

// readyIn gives how many messages are in a queue.
func readyIn(t *testing.T, m *Memory, name string) int {
	h, ok := m.conn.cfg.VHost.Queue(name)
	require.True(t, ok)
	s, err := h.Stat()
	require.NoError(t, err)
	return s.Ready
}

func TestPublishAllHandsOverInTurnsOfABoundedSize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ n, size, turn int }{
		"none":       {0, 1, maxTogether},
		"one turn":   {maxTogether, 1, maxTogether},
		"some turns": {3*maxTogether + 7, 1, maxTogether},
		"large ones": {7, maxOctetsTogether / 2, 2},
		"huge ones":  {3, maxOctetsTogether, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := newLocal(t)
			m := open(t, l)
			declare(t, m, "q")
			body := strings.Repeat("x", c.size)
			asked := 0
			published, err := m.PublishAll(t.Context(), c.n, func(i int, p *channel.Publish) error {
				require.Equal(t, asked, i)
				asked++
				require.Equal(t, i-i%c.turn, readyIn(t, m, "q"), "the turns before were handed over")
				*p = channel.Publish{RoutingKey: []byte("q"), Msg: newMessage(body)}
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, c.n, published)
			require.Equal(t, c.n, readyIn(t, m, "q"))
		})
	}
}

func TestPublishAllEndsAtWhatGoesWrong(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	for name, c := range map[string]struct {
		at   func(cancel func(), a *limiter.Alarms, p *channel.Publish) error // at the fourth message
		want error
		// done is how many are published then.
		done int
	}{
		"not filled": {func(_ func(), _ *limiter.Alarms, p *channel.Publish) error { return no }, no, 3},
		"refused": {func(_ func(), _ *limiter.Alarms, p *channel.Publish) error {
			p.Exchange = []byte("missing")
			return nil
		}, reply.NotFound, 3},
		"context ends": {func(cancel func(), _ *limiter.Alarms, _ *channel.Publish) error { cancel(); return nil }, context.Canceled, 4},
		"alarm, and end": {func(cancel func(), a *limiter.Alarms, _ *channel.Publish) error {
			a.Set("memory")
			cancel()
			return nil
		}, context.Canceled, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alarms := new(limiter.Alarms)
			l, _ := newLocal(t, func(cfg *LocalConfig) { cfg.Alarms = alarms })
			m, other := open(t, l), open(t, l)
			declare(t, other, "q")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			published, err := m.PublishAll(ctx, 9, func(i int, p *channel.Publish) error {
				*p = channel.Publish{RoutingKey: []byte("q")}
				if i == 3 {
					if err := c.at(cancel, alarms, p); err != nil {
						return err
					}
				}
				p.Msg = newMessage("m")
				return nil
			})
			require.ErrorIs(t, err, c.want)
			require.Equal(t, c.done, published)
			require.Equal(t, c.done, readyIn(t, other, "q"))
		})
	}
}

// The last message is published; there is nothing left that could go wrong.
func TestPublishAllNeedsNoTurnAfterTheLast(t *testing.T) {
	t.Parallel()
	l, _ := newLocal(t)
	m := open(t, l)
	declare(t, m, "q")
	ctx, cancel := context.WithCancel(t.Context())
	published, err := m.PublishAll(ctx, maxTogether, func(i int, p *channel.Publish) error {
		if i == maxTogether-1 {
			cancel()
		}
		*p = channel.Publish{RoutingKey: []byte("q"), Msg: newMessage("m")}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, maxTogether, published)
}
