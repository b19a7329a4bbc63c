package queue

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// lateRun hosts a queue on a log, both of which a test drives: from hold on, what the
// host wants to be run waits until the result is called. events counts the events that
// the queue was told of.
func lateRun(t *testing.T) (r *rig, log *fakeLog, events *int, hold func() (run func())) {
	log, events = newFakeLog(), new(int)
	var held []func()
	holding := false
	typ := hooked{Type: Classic(), before: func(call string) {
		if call == "Event" {
			*events++
		}
	}}
	r = newRig(t, typ, func(s *Spec, env *HostEnv) {
		log.with(s, env)
		env.Go = func(f func()) bool {
			if holding {
				held = append(held, f)
			} else {
				f()
			}
			return true
		}
	})
	log.recoverIn(1, nil)
	return r, log, events, func() func() {
		holding, *events = true, 0
		return func() {
			holding = false
			require.Len(t, held, 1)
			held[0]()
		}
	}
}

// A Log answers submit by submit. What it says before the queue looks costs the queue
// one call for all that is durable in a row, and one for each failure.
func TestAnswersOfALogThatComeTogetherAreOneEvent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail                map[int]error
		events              int
		confirmed, rejected []uint64
	}{
		"all stored":          {nil, 1, seqs(1, 5), nil},
		"one failed":          {map[int]error{3: errDisk}, 3, []uint64{1, 2, 4, 5}, []uint64{3}},
		"the first failed":    {map[int]error{1: errDisk}, 2, seqs(2, 5), []uint64{1}},
		"the last two failed": {map[int]error{4: errDisk, 5: errDisk}, 3, seqs(1, 3), []uint64{4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, log, events, hold := lateRun(t)
			for _, body := range []string{"1", "2", "3", "4", "5"} {
				r.postStored(body)
			}
			run := hold()
			log.failSubmit = c.fail
			require.Equal(t, 5, log.commit(5))
			require.Zero(t, *events)
			run()
			require.Equal(t, c.events, *events)
			r.answers.want(c.confirmed, c.rejected)
			r.deleteAndBalance()
		})
	}
}

func TestAnswersOfALogKeepTheirPlaceAmongOtherEvents(t *testing.T) {
	t.Parallel()
	r, log, events, hold := lateRun(t)
	in := r.consume(Consumer{Prefetch: 1})
	for _, body := range []string{"1", "2", "3"} {
		r.postStored(body)
	}
	in.want("1")
	run := hold()
	log.commit(1)
	r.h.Resume(in.id, false)
	log.commit(9)
	run()
	require.Equal(t, 3, *events, "what was stored before, the consumer's, and all that was stored after it")
	r.answers.want(seqs(1, 3), nil)
	r.deleteAndBalance()
}
