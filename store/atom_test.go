package store

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnAtomIsWholeWhenTheLastParticipantHasLeft(t *testing.T) {
	t.Parallel()
	a := NewAtom()
	var told []error
	a.Whole(func(err error) { told = append(told, err) })
	a.Join(2)
	a.Leave(nil)
	a.Leave(nil)
	require.Equal(t, 1, a.Participants())
	require.Empty(t, told)
	a.Leave(nil)
	require.Zero(t, a.Participants())
	require.Equal(t, []error{nil}, told)
	a.Whole(func(err error) { told = append(told, err) })
	require.Len(t, told, 2, "who asks late is told at once")
}

func TestAnAtomKeepsTheFirstErrorOfItsParticipants(t *testing.T) {
	t.Parallel()
	first := errors.New("first")
	a := NewAtom()
	a.Join(2)
	a.Leave(first)
	a.Leave(errors.New("second"))
	require.ErrorIs(t, a.Err(), first)
	a.Leave(nil)
	a.Whole(func(err error) { require.ErrorIs(t, err, first) })
}

func TestParticipantsMayLeaveAtOnce(t *testing.T) {
	t.Parallel()
	a := NewAtom()
	told := 0
	a.Whole(func(error) { told++ })
	var all sync.WaitGroup
	for range 8 {
		a.Join(100)
		all.Go(func() {
			for range 100 {
				a.Leave(nil)
			}
		})
	}
	a.Leave(nil)
	all.Wait()
	require.Equal(t, 1, told)
}

func TestAnAtomIsSettledWhenAllThatWasSubmittedIsAnswered(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, end := range []error{nil, broken} {
		a := NewAtom()
		var told []error
		a.Settled(func(err error) { told = append(told, err) })
		a.Join(1)
		a.Submitted()
		a.Leave(nil)
		a.Answered(nil)
		require.Empty(t, told, "somebody may still submit")
		a.Submitted()
		a.Leave(nil)
		require.Empty(t, told, "the store has not answered")
		a.Answered(end)
		require.Equal(t, []error{end}, told)
		a.Settled(func(err error) { told = append(told, err) })
		require.Equal(t, []error{end, end}, told, "who asks late is told at once")
	}
	a := NewAtom()
	a.Leave(broken)
	a.Settled(func(err error) { require.ErrorIs(t, err, broken) })
}
