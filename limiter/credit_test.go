package limiter_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/limiter"
)

// instant is when these tests begin.
var instant = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func small() limiter.CreditSpec { return limiter.CreditSpec{Initial: 4, More: 2} }

// The tests up to the two numbers of RabbitMQ are the vectors of contract 07 §2.1.

func TestCreditTheMessageThatUsesTheLastCreditBlocks(t *testing.T) {
	t.Parallel()
	var a, b limiter.Party
	c := limiter.NewCredit(small(), &a, &b)
	for range 3 {
		require.False(t, c.Send(instant))
	}
	require.Equal(t, 1, c.Left())
	require.False(t, a.Blocked())
	require.Equal(t, limiter.Running, a.State(instant))

	require.True(t, c.Send(instant))
	require.Zero(t, c.Left())
	require.True(t, a.Blocked())
	require.Equal(t, limiter.Flow, a.State(instant.Add(time.Hour)))
}

// spend sends until the sender is blocked and handles what is needed for one
// grant.
func spend(t *testing.T, c *limiter.Credit, now time.Time) {
	t.Helper()
	for !c.Send(now) {
	}
}

func grant(t *testing.T, c *limiter.Credit, after int) limiter.Grant {
	t.Helper()
	for range after - 1 {
		_, ok := c.Ack()
		require.False(t, ok)
	}
	g, ok := c.Ack()
	require.True(t, ok)
	return g
}

func TestCreditAGrantUnblocksAndFlowStaysVisibleForASecond(t *testing.T) {
	t.Parallel()
	var a, b limiter.Party
	c := limiter.NewCredit(small(), &a, &b)
	spend(t, c, instant)
	g := grant(t, c, 2)
	require.Equal(t, limiter.Grant{Credit: c, N: 2}, g)
	require.Empty(t, g.Credit.Bump(g.N))
	require.Equal(t, 2, c.Left())
	require.False(t, a.Blocked())
	require.Equal(t, limiter.Flow, a.State(instant.Add(limiter.FlowHold-1)))
	require.Equal(t, limiter.Running, a.State(instant.Add(limiter.FlowHold)))
}

func TestCreditWhoIgnoresABlockGoesIntoDebt(t *testing.T) {
	t.Parallel()
	var a, b limiter.Party
	c := limiter.NewCredit(small(), &a, &b)
	spend(t, c, instant)
	require.False(t, c.Send(instant), "it is blocked already")
	require.False(t, c.Send(instant))
	require.Equal(t, -2, c.Left())
	c.Bump(2)
	require.Zero(t, c.Left())
	require.True(t, a.Blocked(), "nothing left is still nothing to send with")
	c.Bump(2)
	require.Equal(t, 2, c.Left())
	require.False(t, a.Blocked())
}

func TestCreditABlockedReceiverHoldsItsGrantsBack(t *testing.T) {
	t.Parallel()
	var a, b, c limiter.Party
	ab := limiter.NewCredit(small(), &a, &b)
	bc := limiter.NewCredit(small(), &b, &c)
	spend(t, ab, instant)
	spend(t, bc, instant)
	for range 4 {
		_, ok := ab.Ack()
		require.False(t, ok, "b is blocked by c")
	}
	require.True(t, a.Blocked())

	flushed := bc.Bump(2)
	require.Equal(t, []limiter.Grant{{Credit: ab, N: 2}, {Credit: ab, N: 2}}, flushed)
	for _, g := range flushed {
		g.Credit.Bump(g.N)
	}
	require.False(t, a.Blocked())
	require.Equal(t, 4, ab.Left())
	require.Empty(t, bc.Bump(2), "nothing is flushed twice")
}

func TestCreditTheEndOfTheReceiverUnblocks(t *testing.T) {
	t.Parallel()
	var a, b, up limiter.Party
	c := limiter.NewCredit(small(), &a, &b)
	upstream := limiter.NewCredit(small(), &up, &a)
	spend(t, c, instant)
	spend(t, upstream, instant)
	upstream.Ack()
	upstream.Ack()
	late := grant(t, c, 2)

	require.Equal(t, []limiter.Grant{{Credit: upstream, N: 2}}, c.Down())
	require.False(t, a.Blocked())
	require.Empty(t, c.Down(), "it is gone only once")
	require.Empty(t, late.Credit.Bump(late.N), "a grant that was on its way counts no more")
	require.False(t, c.Send(instant))
	require.False(t, a.Blocked())

	again := limiter.NewCredit(small(), &a, &b)
	require.Equal(t, 4, again.Left())
}

func TestCreditTheEndOfAReceiverThatBlocksNobodyChangesNothing(t *testing.T) {
	t.Parallel()
	var a, b, other limiter.Party
	c := limiter.NewCredit(small(), &a, &b)
	spend(t, limiter.NewCredit(small(), &a, &other), instant)
	require.Empty(t, c.Down())
	require.True(t, a.Blocked())
}

func TestCreditABlockOfTwoNeedsTwoGrants(t *testing.T) {
	t.Parallel()
	var a, b, c limiter.Party
	ab := limiter.NewCredit(small(), &a, &b)
	ac := limiter.NewCredit(small(), &a, &c)
	spend(t, ab, instant)
	spend(t, ac, instant.Add(time.Minute))
	ab.Bump(2)
	require.True(t, a.Blocked())
	ac.Bump(2)
	require.False(t, a.Blocked())
	require.Equal(t, limiter.Running, a.State(instant.Add(time.Minute)),
		"the hold is counted from when it became blocked, not from each blocker")
}

func TestCreditOfRabbitMQ(t *testing.T) {
	t.Parallel()
	var a, b limiter.Party
	c := limiter.NewCredit(limiter.DefaultCredit(), &a, &b)
	for range 399 {
		require.False(t, c.Send(instant))
	}
	require.True(t, c.Send(instant), "the 400th")
	for range 199 {
		_, ok := c.Ack()
		require.False(t, ok)
	}
	g, ok := c.Ack()
	require.True(t, ok, "the 200th")
	require.Equal(t, 200, g.N)
}

func TestCreditASpecBelowOneCountsAsOne(t *testing.T) {
	t.Parallel()
	var a, b limiter.Party
	c := limiter.NewCredit(limiter.CreditSpec{}, &a, &b)
	require.True(t, c.Send(instant))
	g, ok := c.Ack()
	require.True(t, ok)
	require.Empty(t, g.Credit.Bump(g.N))
	require.False(t, a.Blocked())
}

// A sender that obeys never has more under way than it was given, and whatever
// the order of things it is never blocked for good.
func TestCreditBoundsWhatIsUnderWayAndNeverStalls(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		spec := limiter.CreditSpec{Initial: 1 + rnd.IntN(20), More: 1}
		spec.More = 1 + rnd.IntN(spec.Initial)
		var a, b limiter.Party
		c := limiter.NewCredit(spec, &a, &b)
		underWay, sent := 0, 0
		var grants []limiter.Grant
		for sent < 500 {
			progress := false
			if !a.Blocked() && rnd.IntN(2) == 0 {
				c.Send(instant)
				underWay++
				sent++
			}
			require.LessOrEqual(t, underWay, spec.Initial)
			if underWay > 0 && (a.Blocked() || rnd.IntN(2) == 0) {
				underWay--
				progress = true
				if g, ok := c.Ack(); ok {
					grants = append(grants, g)
				}
			}
			if len(grants) > 0 && (a.Blocked() || rnd.IntN(3) == 0) {
				c.Bump(grants[0].N)
				grants = grants[1:]
				progress = true
			}
			require.True(t, progress || !a.Blocked(), "blocked with nothing under way and no grant")
		}
	}
}

func BenchmarkCredit(b *testing.B) {
	var from, to limiter.Party
	c := limiter.NewCredit(limiter.DefaultCredit(), &from, &to)
	b.ReportAllocs()
	for b.Loop() {
		c.Send(instant)
		if g, ok := c.Ack(); ok {
			g.Credit.Bump(g.N)
		}
	}
}
