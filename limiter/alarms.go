package limiter

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Alarms is the set of things that a broker is short of, such as memory. While
// there is one, nobody may publish. An episode lasts from the first alarm to the
// moment when none is left; alarms that come and go in between do not end it.
//
// Any goroutine may use it. To read it takes no lock. The zero value and a nil
// *Alarms have no alarm.
type Alarms struct {
	mu  sync.Mutex // held while now changes
	now atomic.Pointer[alarmed]
}

// alarmed is a state with at least one alarm. It is immutable.
type alarmed struct {
	sources []string
	over    chan struct{} // the episode's
}

// Set adds an alarm by the name of what is short, and reports whether it was not
// there before.
func (a *Alarms) Set(source string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := &alarmed{sources: []string{source}}
	if was := a.now.Load(); was == nil {
		next.over = make(chan struct{})
	} else {
		if slices.Contains(was.sources, source) {
			return false
		}
		next.sources = append(next.sources, was.sources...)
		slices.Sort(next.sources)
		next.over = was.over
	}
	a.now.Store(next)
	return true
}

// Clear takes an alarm away, and reports whether it was there.
func (a *Alarms) Clear(source string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.now.Load()
	if was == nil || !slices.Contains(was.sources, source) {
		return false
	}
	if len(was.sources) == 1 {
		a.now.Store(nil)
		close(was.over)
		return true
	}
	rest := slices.DeleteFunc(slices.Clone(was.sources), func(s string) bool { return s == source })
	a.now.Store(&alarmed{sources: rest, over: was.over})
	return true
}

// Any reports whether there is an alarm. It is one atomic load.
func (a *Alarms) Any() bool { return a != nil && a.now.Load() != nil }

// Sources gives what is short, in alphabetical order.
func (a *Alarms) Sources() []string {
	if a == nil {
		return nil
	}
	if now := a.now.Load(); now != nil {
		return slices.Clone(now.sources)
	}
	return nil
}

// Episode gives why nobody may publish now, in RabbitMQ's words (contract 07 §6),
// and a channel that is closed when everybody may again. The same channel is the
// same episode. Without an alarm, over is nil.
func (a *Alarms) Episode() (reason string, over <-chan struct{}) {
	if a == nil {
		return "", nil
	}
	now := a.now.Load()
	if now == nil {
		return "", nil
	}
	return "low on " + strings.Join(now.sources, " & "), now.over
}
