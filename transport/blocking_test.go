package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/limiter"
)

// alarmed gives a connection with two channels and a queue "q", in a bubble.
func alarmed(t *testing.T, f func(t *testing.T, a *limiter.Alarms, l *Local, m, other *Memory)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := new(limiter.Alarms)
		l, _ := newLocal(t, func(cfg *LocalConfig) { cfg.Alarms = a })
		m, other := open(t, l), open(t, l)
		declare(t, m, "q")
		f(t, a, l, m, other)
	})
}

func ready(t *testing.T, m *Memory, queue string) (n int) {
	t.Helper()
	require.NoError(t, m.Do(t.Context(), func(ch *channel.Channel) error {
		info, err := ch.DeclareQueue(channel.QueueDeclare{Name: queue, Passive: true})
		n = info.Ready
		return err
	}))
	return n
}

func TestAPublishWaitsForTheLastAlarmAndNothingElseDoes(t *testing.T) {
	alarmed(t, func(t *testing.T, a *limiter.Alarms, l *Local, m, other *Memory) {
		require.Equal(t, "running", l.State())
		a.Set("memory")
		a.Set("disk")
		require.Equal(t, "blocking", l.State())
		published := make(chan time.Duration)
		begin := time.Now()
		go func() {
			post(t, m, "q", "body", false)
			published <- time.Since(begin)
		}()
		synctest.Wait()
		require.Equal(t, "blocked", l.State())
		require.Zero(t, ready(t, m, "q"), "the same channel goes on")
		require.Zero(t, ready(t, other, "q"))
		a.Clear("disk")
		time.AfterFunc(30*time.Minute, func() { a.Clear("memory") })
		require.Equal(t, 30*time.Minute, <-published)
		require.Equal(t, "running", l.State())
		require.Equal(t, 1, ready(t, m, "q"))
	})
}

func TestAPublishThatDoesNotWaitForTheAlarmIsNotMade(t *testing.T) {
	alarmed(t, func(t *testing.T, a *limiter.Alarms, l *Local, m, _ *Memory) {
		a.Set("memory")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := m.Publish(ctx, "", "q", false, newMessage("body"), nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "not published, as the broker is low on memory: context deadline exceeded")
		require.Equal(t, "blocking", l.State())
		a.Clear("memory")
		require.Zero(t, ready(t, m, "q"))
	})
}

func TestAPublishThatWaitsForAnAlarmEndsWithItsChannel(t *testing.T) {
	alarmed(t, func(t *testing.T, a *limiter.Alarms, l *Local, m, other *Memory) {
		a.Set("memory")
		failed := make(chan error, 1)
		go func() { failed <- m.Publish(context.Background(), "", "q", false, newMessage("body"), nil) }()
		synctest.Wait()
		m.Close()
		require.ErrorIs(t, <-failed, ErrClosed)
		require.ErrorIs(t, m.Publish(t.Context(), "", "q", false, newMessage("body"), nil), ErrClosed)
		require.NoError(t, other.Err())
	})
}

// heard collects what a loop over Blocked gets, until it ends.
func heard(l *Local) (events <-chan Blocking, end <-chan error) {
	es, ended := make(chan Blocking, 16), make(chan error, 1)
	go func() {
		for b, err := range l.Blocked(context.Background()) {
			if err != nil {
				ended <- err
				continue
			}
			es <- b
		}
		close(es)
	}()
	return es, ended
}

func TestBlockedTellsOncePerEpisodeInWhichSomethingIsPublished(t *testing.T) {
	alarmed(t, func(t *testing.T, a *limiter.Alarms, l *Local, m, other *Memory) {
		events, end := heard(l)
		quick := func(m *Memory) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.Error(t, m.Publish(ctx, "", "q", false, newMessage("body"), nil))
		}
		none := func() {
			t.Helper()
			synctest.Wait()
			require.Empty(t, events)
		}
		a.Set("memory")
		a.Clear("memory")
		none()
		a.Set("memory")
		none()
		quick(m)
		require.Equal(t, Blocking{Active: true, Reason: "low on memory"}, <-events)
		quick(m)
		quick(other)
		a.Set("disk")
		a.Clear("memory")
		quick(m)
		none()
		late, _ := heard(l)
		require.Equal(t, Blocking{Active: true, Reason: "low on memory"}, <-late, "it is under way")
		a.Clear("disk")
		require.Equal(t, Blocking{}, <-events)
		require.Equal(t, Blocking{}, <-late)
		none()
		over, _ := heard(l)
		synctest.Wait()
		require.Empty(t, over, "it is over")
		a.Set("disk")
		none()
		quick(m)
		require.Equal(t, Blocking{Active: true, Reason: "low on disk"}, <-events)
		require.Equal(t, Blocking{Active: true, Reason: "low on disk"}, <-over)
		l.Abort()
		require.ErrorIs(t, <-end, ErrClosed)
		for range events {
			t.Error("there was more")
		}
	})
}

func TestALoopOverBlockedMayBeLeft(t *testing.T) {
	alarmed(t, func(t *testing.T, a *limiter.Alarms, l *Local, m, _ *Memory) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for _, err := range l.Blocked(ctx) {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		a.Set("memory")
		go func() { _ = m.Publish(context.Background(), "", "q", false, newMessage("body"), nil) }()
		for range 2 {
			for b, err := range l.Blocked(t.Context()) {
				require.NoError(t, err)
				require.True(t, b.Active)
				break
			}
		}
		a.Clear("memory")
		synctest.Wait()
		require.Equal(t, 1, ready(t, m, "q"))
	})
}
