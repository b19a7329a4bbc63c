package limiter

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoAlarms(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]*Alarms{"zero": {}, "nil": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.False(t, a.Any())
			require.Empty(t, a.Sources())
			reason, over := a.Episode()
			require.Empty(t, reason)
			require.Nil(t, over)
		})
	}
}

func TestAnEpisodeLastsFromTheFirstAlarmToTheLast(t *testing.T) {
	t.Parallel()
	var a Alarms
	isOver := func(over <-chan struct{}) bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	require.True(t, a.Set("memory"))
	require.False(t, a.Set("memory"), "it is set already")
	reason, first := a.Episode()
	require.Equal(t, "low on memory", reason)

	require.True(t, a.Set("disk"))
	require.Equal(t, []string{"disk", "memory"}, a.Sources())
	reason, over := a.Episode()
	require.Equal(t, "low on disk & memory", reason, "in RabbitMQ's order")
	require.Equal(t, first, over, "the same episode")

	require.True(t, a.Clear("memory"))
	require.False(t, a.Clear("memory"), "it is cleared already")
	reason, over = a.Episode()
	require.Equal(t, "low on disk", reason)
	require.Equal(t, first, over)
	require.False(t, isOver(first))
	require.True(t, a.Any())

	require.True(t, a.Clear("disk"))
	require.True(t, isOver(first))
	require.False(t, a.Any())
	require.Empty(t, a.Sources())

	require.True(t, a.Set("disk"))
	_, second := a.Episode()
	require.False(t, isOver(second), "another episode")
}

func TestAlarmsFromManyGoroutines(t *testing.T) {
	t.Parallel()
	var a Alarms
	var all sync.WaitGroup
	for _, source := range []string{"memory", "disk"} {
		all.Go(func() {
			for range 1000 {
				a.Set(source)
				a.Clear(source)
			}
		})
		all.Go(func() {
			for range 1000 {
				if _, over := a.Episode(); over != nil {
					<-over
				}
			}
		})
	}
	all.Wait()
	require.False(t, a.Any())
}

func TestToLookForAlarmsAllocatesNothing(t *testing.T) {
	var a Alarms
	require.Zero(t, testing.AllocsPerRun(100, func() { a.Any() }))
}
