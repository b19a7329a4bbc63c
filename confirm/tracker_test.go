package confirm_test

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/confirm"
	"github.com/warrenmq/warren/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ message.Confirmer = (*confirm.Tracker)(nil)

func ack(tag uint64) confirm.Answer      { return confirm.Answer{Tag: tag} }
func ackUpTo(tag uint64) confirm.Answer  { return confirm.Answer{Tag: tag, Multiple: true} }
func nack(tag uint64) confirm.Answer     { return confirm.Answer{Tag: tag, Nack: true} }
func nackUpTo(tag uint64) confirm.Answer { return confirm.Answer{Tag: tag, Multiple: true, Nack: true} }

// filled is a tracker with publishes 1..n, each for one queue.
func filled(n uint64) *confirm.Tracker {
	t := confirm.New(nil)
	for seq := uint64(1); seq <= n; seq++ {
		t.Add(seq, 1)
	}
	return t
}

func confirmEach(t *confirm.Tracker, seqs ...uint64) {
	for _, seq := range seqs {
		t.Confirm(seq, seq)
	}
}

func TestDrainAnswersAsRabbitMQDoes(t *testing.T) {
	t.Parallel()
	type seqs = []uint64
	tests := []struct {
		name     string
		publish  uint64
		before   seqs // confirmed and drained before
		confirm  seqs
		reject   seqs
		expected []confirm.Answer
	}{
		{name: "nothing settled", publish: 3},
		{name: "one alone is plain", publish: 1, confirm: seqs{1}, expected: []confirm.Answer{ack(1)}},
		{name: "one alone is plain even if all below are settled", publish: 3, before: seqs{1, 2}, confirm: seqs{3},
			expected: []confirm.Answer{ack(3)}},
		{name: "one alone is plain beside a nack", publish: 2, confirm: seqs{1}, reject: seqs{2},
			expected: []confirm.Answer{ack(1), nack(2)}},
		{name: "all of them in one", publish: 4, confirm: seqs{1, 2, 3, 4}, expected: []confirm.Answer{ackUpTo(4)}},
		{name: "in any order", publish: 4, confirm: seqs{3, 1, 4, 2}, expected: []confirm.Answer{ackUpTo(4)}},
		{name: "up to the first that is not settled, then one by one", publish: 6, confirm: seqs{1, 2, 4, 6},
			expected: []confirm.Answer{ackUpTo(2), ack(4), ack(6)}},
		{name: "a single one below the cutoff is cumulative too", publish: 4, confirm: seqs{1, 3, 4},
			expected: []confirm.Answer{ackUpTo(1), ack(3), ack(4)}},
		{name: "none below the cutoff", publish: 4, confirm: seqs{4, 3, 2}, expected: []confirm.Answer{ack(2), ack(3), ack(4)}},
		{name: "never across a nack", publish: 5, confirm: seqs{1, 2, 4, 5}, reject: seqs{3},
			expected: []confirm.Answer{ackUpTo(2), ack(4), ack(5), nack(3)}},
		{name: "acks above a nack", publish: 3, confirm: seqs{2, 3}, reject: seqs{1},
			expected: []confirm.Answer{ack(2), ack(3), nackUpTo(1)}},
		{name: "a single nack is cumulative when all below is settled", publish: 2, before: seqs{1}, reject: seqs{2},
			expected: []confirm.Answer{nackUpTo(2)}},
		{name: "a single nack above an unsettled one is plain", publish: 3, reject: seqs{2}, expected: []confirm.Answer{nack(2)}},
		{name: "the first publish nacked", publish: 1, reject: seqs{1}, expected: []confirm.Answer{nackUpTo(1)}},
		{name: "several nacks in one", publish: 3, reject: seqs{3, 1, 2}, expected: []confirm.Answer{nackUpTo(3)}},
		{name: "nacks never across an ack of the same batch", publish: 4, confirm: seqs{2, 3}, reject: seqs{1, 4},
			expected: []confirm.Answer{ack(2), ack(3), nackUpTo(1), nack(4)}},
		{name: "nacks around an unsettled one", publish: 4, reject: seqs{1, 2, 4}, expected: []confirm.Answer{nackUpTo(2), nack(4)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr := filled(tt.publish)
			confirmEach(tr, tt.before...)
			tr.Drain(nil)
			confirmEach(tr, tt.confirm...)
			for _, seq := range tt.reject {
				tr.Reject(seq)
			}
			require.Equal(t, tt.expected, tr.Drain(nil))
			require.Empty(t, tr.Drain(nil), "everything is told once")
			require.Equal(t, int(tt.publish)-len(tt.before)-len(tt.confirm)-len(tt.reject), tr.Outstanding())
		})
	}
}

func TestConfirmTakesARange(t *testing.T) {
	t.Parallel()
	tr := filled(10)
	tr.Confirm(3, 5)
	require.Equal(t, []confirm.Answer{ack(3), ack(4), ack(5)}, tr.Drain(nil))
	tr.Confirm(1, 8)
	require.Equal(t, []confirm.Answer{ackUpTo(8)}, tr.Drain(nil))
	require.Equal(t, 2, tr.Outstanding())
}

func TestAPublishForSeveralQueuesWaitsForAll(t *testing.T) {
	t.Parallel()
	tr := confirm.New(nil)
	tr.Add(1, 3)
	tr.Add(2, 1)
	tr.Confirm(1, 2)
	require.Equal(t, []confirm.Answer{ack(2)}, tr.Drain(nil))
	tr.Confirm(1, 1)
	require.Empty(t, tr.Drain(nil))
	tr.Confirm(1, 1)
	require.Equal(t, []confirm.Answer{ack(1)}, tr.Drain(nil))
}

func TestTheFirstRefusalNacksOnceAndForAll(t *testing.T) {
	t.Parallel()
	tr := confirm.New(nil)
	tr.Add(1, 3)
	tr.Confirm(1, 1)
	tr.Reject(1)
	require.Zero(t, tr.Outstanding())
	tr.Reject(1)
	tr.Confirm(1, 1)
	require.Equal(t, []confirm.Answer{nackUpTo(1)}, tr.Drain(nil))
	tr.Confirm(1, 1)
	tr.Reject(1)
	require.Empty(t, tr.Drain(nil))
}

func TestAnUnroutablePublishIsConfirmedAtOnce(t *testing.T) {
	t.Parallel()
	tr := confirm.New(nil)
	tr.Add(1, 0)
	tr.Add(2, 1)
	tr.Add(3, 0)
	require.Equal(t, 1, tr.Outstanding())
	require.Equal(t, []confirm.Answer{ackUpTo(1), ack(3)}, tr.Drain(nil))
}

func TestUnknownNumbersAreIgnored(t *testing.T) {
	t.Parallel()
	tr := filled(2)
	tr.Reject(0)
	tr.Reject(3)
	tr.Reject(math.MaxUint64)
	tr.Confirm(3, math.MaxUint64)
	tr.Confirm(0, 0)
	tr.Confirm(5, 1)
	tr.Add(2, 1)
	tr.Add(7, 1)
	tr.Add(0, 1)
	require.Empty(t, tr.Drain(nil))
	require.Equal(t, 2, tr.Outstanding())
	tr.Confirm(0, math.MaxUint64)
	require.Equal(t, []confirm.Answer{ackUpTo(2)}, tr.Drain(nil))
	tr.Add(3, 1)
	require.Equal(t, 1, tr.Outstanding(), "the next number is still 3")
}

func TestNotifyComesOncePerDrain(t *testing.T) {
	t.Parallel()
	calls := 0
	tr := confirm.New(func() { calls++ })
	for seq := uint64(1); seq <= 6; seq++ {
		tr.Add(seq, 1)
	}
	require.Zero(t, calls, "there is nothing to tell yet")
	tr.Confirm(1, 1)
	tr.Confirm(2, 2)
	tr.Reject(3)
	require.Equal(t, 1, calls)
	tr.Drain(nil)
	tr.Drain(nil)
	require.Equal(t, 1, calls)
	tr.Reject(4)
	require.Equal(t, 2, calls)
	tr.Drain(nil)
	tr.Add(7, 0)
	require.Equal(t, 3, calls)
}

func TestNotifyMayDrain(t *testing.T) {
	t.Parallel()
	var tr *confirm.Tracker
	var answers []confirm.Answer
	tr = confirm.New(func() { answers = tr.Drain(answers) })
	tr.Add(1, 0)
	tr.Add(2, 0)
	require.Equal(t, []confirm.Answer{ack(1), ack(2)}, answers)
}

func TestDrainAppends(t *testing.T) {
	t.Parallel()
	tr := filled(1)
	tr.Confirm(1, 1)
	require.Equal(t, []confirm.Answer{ack(99), ack(1)}, tr.Drain([]confirm.Answer{ack(99)}))
}

func TestAfterCloseNothingIsTold(t *testing.T) {
	t.Parallel()
	tr := confirm.New(func() { t.Error("notified") })
	tr.Add(1, 1)
	tr.Add(2, 1)
	tr.Close()
	tr.Close()
	tr.Confirm(1, 2)
	tr.Reject(2)
	tr.Add(3, 0)
	require.Empty(t, tr.Drain(nil))
	require.Zero(t, tr.Outstanding())
}

// What is outstanding at the end must not be in a cumulative answer.
func TestWhatIsSettledCanBeDrainedAfterClose(t *testing.T) {
	t.Parallel()
	tr := filled(6)
	tr.Confirm(1, 2)
	tr.Reject(4)
	tr.Confirm(6, 6)
	tr.Close()
	tr.Confirm(3, 3)
	tr.Reject(5)
	require.Zero(t, tr.Outstanding())
	require.Equal(t, []confirm.Answer{ackUpTo(2), ack(6), nack(4)}, tr.Drain(nil))
	require.Empty(t, tr.Drain(nil))
}

func TestOnePublisherManyQueuesOneWriter(t *testing.T) {
	t.Parallel()
	const publishes, queues = 5000, 3
	wake := make(chan struct{}, 1)
	tr := confirm.New(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	mailboxes := make([]chan uint64, queues)
	var running sync.WaitGroup
	for i := range mailboxes {
		mailbox := make(chan uint64, 64)
		mailboxes[i] = mailbox
		running.Go(func() {
			for seq := range mailbox {
				if i == 0 && seq%7 == 0 {
					tr.Reject(seq)
				} else {
					tr.Confirm(seq, seq)
				}
			}
		})
	}
	running.Go(func() {
		for seq := uint64(1); seq <= publishes; seq++ {
			tr.Add(seq, int(seq%(queues+1)))
			for i := range seq % (queues + 1) {
				mailboxes[i] <- seq
			}
		}
		for _, m := range mailboxes {
			close(m)
		}
	})
	c := newClient(t, publishes)
	var answers []confirm.Answer
	for c.open > 0 {
		<-wake
		answers = tr.Drain(answers[:0])
		c.take(answers)
	}
	running.Wait()
	require.Zero(t, tr.Outstanding())
	for seq := uint64(1); seq <= publishes; seq++ {
		routed := seq % (queues + 1)
		require.Equal(t, routed > 0 && seq%7 == 0, c.nacked[seq], "publish %d", seq)
	}
}

// client is a publisher: it settles its publishes by the answers it gets.
type client struct {
	t       *testing.T
	settled []bool
	nacked  []bool
	open    int
	low     uint64
}

func newClient(t *testing.T, publishes int) *client {
	return &client{t: t, settled: make([]bool, publishes+1), nacked: make([]bool, publishes+1), open: publishes, low: 1}
}

func (c *client) take(answers []confirm.Answer) {
	c.t.Helper()
	for _, a := range answers {
		require.False(c.t, c.settled[a.Tag], "publish %d answered twice", a.Tag)
		from := a.Tag
		if a.Multiple {
			from = c.low
		}
		for seq := from; seq <= a.Tag; seq++ {
			if !c.settled[seq] {
				c.settled[seq], c.nacked[seq] = true, a.Nack
				c.open--
			}
		}
		for c.low < uint64(len(c.settled)) && c.settled[c.low] {
			c.low++
		}
	}
}
