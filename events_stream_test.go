package warren_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

// tags makes n events, which say 1 to n.
func tags(t *testing.T, b *warren.Broker, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, b.Auth().SetTags("guest", strconv.Itoa(i+1)))
	}
}

// said gives what an event of tags says.
func said(t *testing.T, e warren.Event) string {
	t.Helper()
	set, ok := e.(warren.UserTagsSet)
	require.True(t, ok, "%#v", e)
	return set.Tags[0]
}

func TestAListenerThatFallsBehindLosesTheOldestAndIsTold(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	slow := b.Events(t.Context(), 3)
	other := b.Events(t.Context(), 100)
	tags(t, b, 10)
	type seen struct {
		said        string
		seq, missed uint64
	}
	var got []seen
	for stamp, e := range slow.All() {
		got = append(got, seen{said(t, e), stamp.Seq, stamp.Missed})
		switch len(got) {
		case 2:
			tags(t, b, 1) // there is room again
		case 4:
			tags(t, b, 5)
		case 7:
			require.NoError(t, b.Close()) // nothing waits: the stream ends
		}
	}
	require.Equal(t, []seen{
		{"8", 8, 7}, {"9", 9, 0}, {"10", 10, 0}, {"1", 11, 0}, {"3", 14, 2}, {"4", 15, 0}, {"5", 16, 0},
	}, got)
	var seq uint64
	for stamp, e := range other.All() {
		if seq++; seq <= 10 {
			require.Equal(t, strconv.FormatUint(seq, 10), said(t, e))
		}
		require.Equal(t, seq, stamp.Seq)
		require.Zero(t, stamp.Missed)
	}
	require.EqualValues(t, 16, seq)
}

func TestALoopOverEventsGoesOnWhereTheOneBeforeWasLeft(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	s := b.Events(t.Context(), 0)
	tags(t, b, 4)
	var got []string
	for range 4 {
		for _, e := range s.All() {
			got = append(got, said(t, e))
			break
		}
	}
	require.Equal(t, []string{"1", "2", "3", "4"}, got)
}

func TestTheBodyOfALoopOverEventsMayUseTheBroker(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	s := b.Events(t.Context(), 0)
	require.NoError(t, b.AddVHost("v"))
	var names []string
	for _, e := range s.All() {
		names = append(names, warren.EventName(e))
		switch e.(type) {
		case warren.VHostCreated:
			require.NoError(t, b.DeleteVHost("v"))
		case warren.VHostDeleted:
			require.NoError(t, b.Close())
		}
	}
	require.Equal(t, "vhost.created", names[0])
	require.Equal(t, "vhost.deleted", names[len(names)-1])
	require.Len(t, names, 2+2*7)
}

func TestEventsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		waiting, behind := b.Events(ctx, 0), b.Events(ctx, 0)
		ended := make(chan int)
		go func() {
			n := 0
			for range waiting.All() {
				n++
			}
			ended <- n
		}()
		tags(t, b, 3)
		synctest.Wait()
		cancel()
		require.Equal(t, 3, <-ended)
		for range behind.All() {
			require.Fail(t, "the context has ended")
		}
		synctest.Wait()
		tags(t, b, 1) // for nobody
		for range b.Events(ctx, 0).All() {
			require.Fail(t, "the context had ended before")
		}
		require.NoError(t, b.Close())
	})
}

func TestEventsOfAClosedBrokerAreAtTheirEnd(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	before := b.Events(context.Background(), 0)
	tags(t, b, 2)
	require.NoError(t, b.Close())
	tags(t, b, 1)
	n := 0
	for range before.All() {
		n++
	}
	require.Equal(t, 2, n, "what happened before the end is still told")
	for range before.All() {
		require.Fail(t, "nothing is told twice")
	}
	for range b.Events(context.Background(), 0).All() {
		require.Fail(t, "nothing can happen any more")
	}
}

func TestEventsCarryTheTimeInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, err := warren.New(warren.Options{})
		require.NoError(t, err)
		begin := time.Now()
		s := b.Events(t.Context(), 0)
		go func() {
			for range 3 {
				time.Sleep(time.Hour)
				tags(t, b, 1)
			}
			b.Close()
		}()
		n := 0
		for stamp := range s.All() {
			n++
			require.Equal(t, begin.Add(time.Duration(n)*time.Hour), stamp.Time)
		}
		require.Equal(t, 3, n)
	})
}

// Whoever keeps a list by the events has what there is, whatever happens at once:
// nothing comes twice, goes twice, or goes before it came.
func TestEventsAreInTheOrderInWhichThingsHappened(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	ctx := t.Context()
	s := b.Events(ctx, 1<<20)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 60 {
				ch, err := b.Channel(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				// Errors are what the others' deletes may cause.
				_, _ = ch.DeclareQueue(ctx, "q", warren.AutoDelete())
				_ = ch.DeclareExchange(ctx, "x", "direct", warren.AutoDelete())
				_ = ch.BindQueue(ctx, "q", "x", "k")
				switch (n + i) % 4 {
				case 0:
					_, _ = ch.DeleteQueue(ctx, "q")
				case 1:
					_ = ch.DeleteExchange(ctx, "x")
				case 2:
					within, cancel := context.WithTimeout(ctx, time.Millisecond)
					for range ch.Consume(within, "q") {
					}
					cancel()
					_, _ = ch.DeclareQueue(ctx, "mine", warren.Exclusive())
				case 3:
					_ = b.AddVHost("v")
					_ = b.DeleteVHost("v")
				}
				_ = ch.Close()
			}
		})
	}
	all.Wait()
	require.NoError(t, b.Close())

	there := map[string]bool{}
	come := func(what string) { t.Helper(); require.False(t, there[what], what); there[what] = true }
	gone := func(what string) { t.Helper(); require.True(t, there[what], what); delete(there, what) }
	var last uint64
	for stamp, e := range s.All() {
		last++
		require.Equal(t, last, stamp.Seq)
		switch e := e.(type) {
		case warren.ConnectionCreated:
			come(fmt.Sprint("connection ", e.ID))
		case warren.ConnectionClosed:
			gone(fmt.Sprint("connection ", e.ID))
		case warren.ChannelCreated:
			require.True(t, there[fmt.Sprint("connection ", e.Connection)])
			come(fmt.Sprint("channel ", e.Connection, e.Number))
		case warren.ChannelClosed:
			require.True(t, there[fmt.Sprint("connection ", e.Connection)])
			gone(fmt.Sprint("channel ", e.Connection, e.Number))
		case warren.QueueCreated:
			come("queue " + e.VHost + e.Name)
		case warren.QueueDeleted:
			require.NoError(t, e.Err)
			gone("queue " + e.VHost + e.Name)
		case warren.ExchangeCreated:
			come("exchange " + e.VHost + e.Name)
		case warren.ExchangeDeleted:
			gone("exchange " + e.VHost + e.Name)
		case warren.BindingCreated:
			require.True(t, there["queue "+e.VHost+e.Destination])
			require.True(t, there["exchange "+e.VHost+e.Source])
			come("binding " + e.VHost + e.Source + e.Destination + e.RoutingKey)
		case warren.BindingDeleted:
			require.True(t, there["queue "+e.VHost+e.Destination])
			require.True(t, there["exchange "+e.VHost+e.Source])
			gone("binding " + e.VHost + e.Source + e.Destination + e.RoutingKey)
		case warren.ConsumerCreated:
			require.True(t, there["queue "+e.VHost+e.Queue])
			come("consumer " + e.Tag)
		case warren.ConsumerDeleted:
			require.True(t, there["queue "+e.VHost+e.Queue])
			require.True(t, there[fmt.Sprint("channel ", e.Connection, e.Channel)])
			gone("consumer " + e.Tag)
		case warren.VHostCreated:
			come("vhost " + e.VHost)
		case warren.VHostDeleted:
			gone("vhost " + e.VHost)
		}
	}
	require.Positive(t, last)
	for what := range there {
		require.Contains(t, []string{"queue /q", "exchange /x", "binding /xqk"}, what, "left at the end")
	}
}
