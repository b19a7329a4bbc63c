package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/warrenmq/warren/message"
)

// history is a game that is played with a queue and with its model: how the queue
// is declared, and what happens to it. The numbers in its steps mean something only
// when they are played, so that whatever is left of a history when steps are taken
// out is a history too: that is what makes it possible to shrink one that fails.
type history struct {
	seed  uint64 // of what is not in the steps: when the store answers
	world world
	steps []step
}

// world is what does not change in a history.
type world struct {
	arguments  message.Table
	autoDelete bool
	log        logKind
	memory     int // how many bodies are in memory; 0 is the default
}

// logKind is what a queue has for a store.
type logKind int

const (
	noLog   logKind = iota
	pageLog         // the fake log, of a queue that is not durable
	lateLog         // the fake log, which answers in groups of its own
	realLog         // msgstore on memstore
)

// step is one thing that happens.
type step struct {
	kind    stepKind
	a, b, c int
}

type stepKind int

const (
	stepPublish stepKind = iota
	stepSettle
	stepConsume
	stepCancel
	stepGet
	stepResume
	stepWait
	stepDeclare
	stepPurge
	stepRestart
	stepDelete
	stepPolicy
	stepTargets
	stepAnswer
	stepRetry
	steps int = iota
)

var stepNames = [...]string{
	"stepPublish", "stepSettle", "stepConsume", "stepCancel", "stepGet", "stepResume",
	"stepWait", "stepDeclare", "stepPurge", "stepRestart", "stepDelete", "stepPolicy",
	"stepTargets", "stepAnswer", "stepRetry",
}

// stepWeights are chosen so that queues fill and empty.
var stepWeights = [steps]int{28, 30, 7, 4, 8, 10, 14, 1, 1, 3, 1, 4, 2, 2, 1}

func (s step) String() string {
	return fmt.Sprintf("{%s, %d, %d, %d}", stepNames[s.kind], s.a, s.b, s.c)
}

// randomHistory makes a history of n steps in one of the worlds of a type.
func randomHistory(seed uint64, n int, randomWorld func(*rand.Rand) world) history {
	rnd := rand.New(rand.NewPCG(seed, 77))
	h := history{seed: seed, world: randomWorld(rnd)}
	total := 0
	for _, w := range stepWeights {
		total += w
	}
	for range n {
		k, pick := 0, rnd.IntN(total)
		for pick >= stepWeights[k] {
			pick -= stepWeights[k]
			k++
		}
		h.steps = append(h.steps, step{stepKind(k), rnd.IntN(1 << 10), rnd.IntN(1 << 10), rnd.IntN(1 << 10)})
	}
	return h
}

func classicWorld(rnd *rand.Rand) world {
	w := world{log: logKind(rnd.IntN(4)), memory: []int{0, 1, 3}[rnd.IntN(3)], autoDelete: rnd.IntN(10) == 0}
	maybe := w.maybe(rnd)
	maybe(2, argMaxPriority, uint8(rnd.IntN(6)))
	maybe(3, argSingleActive, true)
	maybe(3, "x-message-ttl", int32([]int{0, 10, 30, 60}[rnd.IntN(4)]))
	maybe(8, "x-expires", int32([]int{22, 102}[rnd.IntN(2)])) // never with something else
	maybe(3, "x-max-length", int32(rnd.IntN(9)))
	maybe(4, "x-max-length-bytes", int32(rnd.IntN(60)))
	maybe(2, "x-overflow", []string{"drop-head", "reject-publish", "reject-publish-dlx"}[rnd.IntN(3)])
	if rnd.IntN(3) > 0 {
		maybe(1, argDeadLetterExchange, "d")
		maybe(2, "x-dead-letter-routing-key", "k")
	}
	return w
}

// quorumWorld has a queue that is durable as long as it has a store.
func quorumWorld(rnd *rand.Rand) world {
	w := world{log: []logKind{noLog, lateLog, realLog}[rnd.IntN(3)], memory: []int{0, 1, 3}[rnd.IntN(3)]}
	maybe := w.maybe(rnd)
	maybe(2, argDeliveryLimit, int32(rnd.IntN(5)))
	maybe(3, argSingleActive, true)
	maybe(3, "x-message-ttl", int32([]int{0, 10, 30, 60}[rnd.IntN(4)]))
	maybe(8, "x-expires", int32([]int{22, 102}[rnd.IntN(2)])) // never with something else
	maybe(3, "x-max-length", int32(rnd.IntN(9)))
	maybe(4, "x-max-length-bytes", int32(rnd.IntN(60)))
	if rnd.IntN(4) == 0 { // whose letters are sent at least once
		maybe(1, "x-overflow", "reject-publish")
		maybe(1, argDeadLetterExchange, "d")
		maybe(1, "x-dead-letter-strategy", "at-least-once")
		return w
	}
	maybe(2, "x-overflow", []string{"drop-head", "reject-publish"}[rnd.IntN(2)])
	if rnd.IntN(3) > 0 {
		maybe(1, argDeadLetterExchange, "d")
		maybe(2, "x-dead-letter-routing-key", "k")
		maybe(3, "x-dead-letter-strategy", "at-least-once")
	}
	return w
}

// maybe gives what adds an argument in one of n worlds.
func (w *world) maybe(rnd *rand.Rand) func(n int, name string, v any) {
	return func(n int, name string, v any) {
		if rnd.IntN(n) == 0 {
			w.arguments = append(w.arguments, message.Field{Name: name, Value: v})
		}
	}
}

// shrink makes a history that fails smaller for as long as it fails: it leaves out
// steps, declares a simpler queue and makes numbers small. It gives what is left and
// how that fails.
func shrink(h history, failure error, play func(history) error) (history, error) {
	plays := 0
	try := func(simpler history) bool {
		if plays++; plays > maxPlays {
			return false
		}
		err := play(simpler)
		if err != nil {
			h, failure = simpler, err
		}
		return err != nil
	}
	for before := -1; before != plays && plays < maxPlays; {
		fewer := shrinkSteps(&h, try)
		simpler := shrinkWorld(&h, try)
		smaller := shrinkNumbers(&h, try)
		if !fewer && !simpler && !smaller {
			break
		}
	}
	return h, failure
}

// maxPlays is how often a history is played at the most to make it smaller.
const maxPlays = 5000

// shrinkSteps leaves out as many steps as it can, many at once first.
func shrinkSteps(h *history, try func(history) bool) (done bool) {
	for size := max(1, len(h.steps)/2); size > 0; size /= 2 {
		for i := 0; i+size <= len(h.steps); {
			simpler := *h
			simpler.steps = slices.Concat(h.steps[:i], h.steps[i+size:])
			if try(simpler) {
				done = true
			} else {
				i += size
			}
		}
	}
	return done
}

// shrinkWorld makes the queue a simpler one.
func shrinkWorld(h *history, try func(history) bool) (done bool) {
	for i := 0; i < len(h.world.arguments); {
		simpler := *h
		simpler.world.arguments = slices.Concat(h.world.arguments[:i], h.world.arguments[i+1:])
		if try(simpler) {
			done = true
		} else {
			i++
		}
	}
	change := func(f func(*world)) {
		simpler := *h
		f(&simpler.world)
		if fmt.Sprint(simpler.world) != fmt.Sprint(h.world) && try(simpler) {
			done = true
		}
	}
	change(func(w *world) { w.autoDelete = false })
	change(func(w *world) { w.memory = 0 })
	for log := range h.world.log {
		change(func(w *world) { w.log = min(w.log, log) })
	}
	return done
}

// shrinkNumbers makes the numbers of steps small.
func shrinkNumbers(h *history, try func(history) bool) (done bool) {
	for i := range h.steps {
		for _, field := range []func(*step) *int{
			func(s *step) *int { return &s.a }, func(s *step) *int { return &s.b }, func(s *step) *int { return &s.c },
		} {
			for _, n := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 64, 128} {
				simpler := *h
				simpler.steps = slices.Clone(h.steps)
				if p := field(&simpler.steps[i]); *p <= n {
					break
				} else {
					*p = n
				}
				if try(simpler) {
					done = true
					break
				}
			}
		}
	}
	return done
}

// show prints a history so that it can be pasted into historiesThatFailed. notes say
// what the steps did.
func (h history) show(notes []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{seed: %d, world: %s, steps: []step{\n", h.seed, h.world)
	for i, s := range h.steps {
		fmt.Fprintf(&b, "\t%v,", s)
		if i < len(notes) {
			fmt.Fprintf(&b, " // %s", notes[i])
		}
		b.WriteByte('\n')
	}
	b.WriteString("}},")
	return b.String()
}

// String gives a world as a literal.
func (w world) String() string {
	var fields []string
	add := func(name string, v any) { fields = append(fields, fmt.Sprint(name, ": ", v)) }
	if len(w.arguments) > 0 {
		var as []string
		for _, f := range w.arguments {
			v := fmt.Sprintf("%#v", f.Value)
			if _, ok := message.Int(f.Value); ok {
				v = fmt.Sprintf("%T(%d)", f.Value, f.Value)
			}
			as = append(as, fmt.Sprintf("%q, %s", f.Name, v))
		}
		add("arguments", "args("+strings.Join(as, ", ")+")")
	}
	if w.autoDelete {
		add("autoDelete", true)
	}
	if w.log != noLog {
		add("log", [...]string{"noLog", "pageLog", "lateLog", "realLog"}[w.log])
	}
	if w.memory > 0 {
		add("memory", w.memory)
	}
	return "world{" + strings.Join(fields, ", ") + "}"
}
