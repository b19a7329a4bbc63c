package queue

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func (in *inbox) Credited(available uint32) {
	in.credit = append(in.credit, fmt.Sprint(available, " ready after ", len(in.got)))
}

func (in *inbox) Drained(unused uint32) {
	in.credit = append(in.credit, fmt.Sprint(unused, " left after ", len(in.got)))
}

// told compares what a consumer heard of its credit since the last time, with the
// number of deliveries before it.
func (in *inbox) told(want ...string) {
	in.t.Helper()
	require.Equal(in.t, want, in.credit)
	in.credit = nil
}

// withCredit gives a consumer with x-credit.
func withCredit(n int64, drain bool, c Consumer) Consumer {
	c.Arguments = args(argCredit, args("credit", n, "drain", drain))
	return c
}

// Recorded from RabbitMQ: conformance scenarios credit/*.
func TestAConsumerGetsAsManyAsItGaveCreditFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	a := r.consume(withCredit(2, false, Consumer{Prefetch: 1})) // the prefetch does not count
	r.post("1", "2", "3", "4", "5", "6", "7")
	held := a.want("1", "2")
	r.settle(Ack, held...) // gives nothing back
	a.want()
	a.told()
	r.h.Credit(a.id, 3, false)
	a.told("5 ready after 0")
	a.want("3", "4", "5")
	r.h.Credit(a.id, 1, false)
	r.h.Credit(a.id, 0, false) // what was given before does not count any more
	a.told("2 ready after 0", "1 ready after 1")
	a.want("6")
	r.h.Credit(a.id, 5, false)
	a.want("7")
	r.post("8")
	a.want("8")
	r.h.Cancel(a.id)
	r.h.Credit(a.id, 1, true) // of a consumer that is gone
	r.deleteAndBalance()
}

func TestCreditTakesThePlaceOfAPrefetch(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	a := r.consume(Consumer{Prefetch: 2})
	r.post("1", "2", "3", "4", "5")
	held := a.want("1", "2")
	r.h.Credit(a.id, 1, false)
	a.want("3")
	r.settle(Ack, held...)
	a.want()
	r.h.Credit(a.id, 1, false)
	a.want("4")
	r.deleteAndBalance()
}

func TestCreditCountsDeliveriesWithoutAcknowledgement(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	a := r.consume(withCredit(2, false, Consumer{NoAck: true}))
	r.post("1")
	r.post("2")
	r.post("3")
	a.want("1", "2")
	b := r.consume(Consumer{NoAck: true})
	b.want("3")
	r.h.Credit(a.id, 1, false) // it comes after b, whose turn it is
	r.post("4", "5", "6")
	a.want("5")
	b.want("4", "6")
	r.deleteAndBalance()
}

func TestACreditToBeUsedUpEndsWithTheQueue(t *testing.T) {
	t.Parallel()
	for name, empty := range map[string]func(r *rig){
		"delivered": func(r *rig) { r.consume(Consumer{NoAck: true}) },
		"got":       func(r *rig) { r.get(true) },
		"purged": func(r *rig) {
			_, err := r.h.Purge()
			require.NoError(r.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Classic(), inline)
			a := r.consume(withCredit(3, true, Consumer{}))
			a.told("3 left after 0") // there is nothing
			r.post("1", "2", "3")
			a.want()
			g := &countedGate{}
			b := r.consume(withCredit(0, false, Consumer{Gate: g}))
			r.h.Credit(a.id, 2, true)
			a.told("3 ready after 0")
			a.want("1", "2")
			r.h.Credit(b.id, 4, true) // its gate is shut
			b.told("1 ready after 0")
			empty(r)
			a.told()
			b.told("4 left after 0")
			b.want()
			r.post("4")
			a.want()
			r.h.Credit(a.id, 9, true)
			r.deleteAndBalance()
		})
	}
}

func TestATableThatIsNoCredit(t *testing.T) {
	t.Parallel()
	for _, table := range []any{
		args(), args("credit", int64(1)), args("drain", true), args("credit", int32(1), "drain", false),
		args("credit", int64(1), "drain", "false"),
	} {
		require.Equal(t, credit{}, creditOf(args(argCredit, table)))
	}
	require.Equal(t, credit{metered: true, drains: true, left: -1},
		creditOf(args(argCredit, args("drain", true, "more", int32(1), "credit", int64(-1)))))
}

// A credit that was used up before the queue was empty is nothing to look after: not
// each time that the queue is empty from then on.
func TestACreditThatIsUsedUpIsNotDrainedAnyMore(t *testing.T) {
	t.Parallel()
	r := newRig(t, Classic(), inline)
	r.post("1", "2")
	in := r.consume(Consumer{NoAck: true})
	other := r.consume(Consumer{NoAck: true})
	in.want("1", "2")
	r.h.Credit(in.id, 0, false)
	r.h.Credit(other.id, 0, false)
	r.post("3", "4")
	r.h.Credit(in.id, 1, true)
	in.want("3")
	r.h.Credit(other.id, 1, false)
	other.want("4")
	require.Zero(t, coreOf(r.h).consumers.draining)
	r.deleteAndBalance()
}
