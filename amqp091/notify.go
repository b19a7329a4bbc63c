package amqp091

import (
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// patience is how long a listener may take to receive what it is told, before it
// loses it. It is the client's.
const patience = 5 * time.Second

// register adds a listener, or closes it if the end has come.
func register[T any](mu *sync.Mutex, finished <-chan struct{}, to *[]chan T, listener chan T) chan T {
	mu.Lock()
	defer mu.Unlock()
	select {
	case <-finished:
		close(listener)
	default:
		*to = append(*to, listener)
	}
	return listener
}

// registerState is register for a listener of which the client ignores nil and a
// second time.
func registerState(mu *sync.Mutex, finished <-chan struct{}, to *[]chan *amqp.StateChanged, listener chan *amqp.StateChanged) {
	if listener == nil {
		return
	}
	mu.Lock()
	known := slices.Contains(*to, listener)
	mu.Unlock()
	if !known {
		register(mu, finished, to, listener)
	}
}

// feeder is the goroutine of a channel that tells its listeners.
type feeder struct {
	ended <-chan struct{}
	hasty bool // somebody was waited for in vain after the end
}

// offer gives v to all listeners in turn.
func offer[T any](f *feeder, listeners []chan T, v T) {
	for _, l := range listeners {
		select {
		case l <- v:
			continue
		default:
		}
		if f.hasty {
			continue
		}
		t := time.NewTimer(patience)
		select {
		case l <- v:
		case <-t.C:
			select {
			case <-f.ended:
				f.hasty = true
			default:
			}
		}
		t.Stop()
	}
}

// tryAll gives v to the listeners that can take it at once.
func tryAll[T any](listeners []chan T, v T) {
	for _, l := range listeners {
		select {
		case l <- v:
		default:
		}
	}
}

func closeAll[T any](listeners []chan T) {
	for _, l := range listeners {
		close(l)
	}
}

// stepsToEnd are the changes of state of what ended: because Close was called, for
// the reason err, or with the connection.
func stepsToEnd(what string, asked bool, err *amqp.Error) []*amqp.StateChanged {
	last := &amqp.StateChanged{From: amqp.StateOpen, To: amqp.StateClosed}
	switch {
	case err != nil:
		last.Err = fmt.Errorf("%s closed: %w", what, err)
	case asked:
		last.From = amqp.StateClosing
		return []*amqp.StateChanged{{From: amqp.StateOpen, To: amqp.StateClosing}, last}
	}
	return []*amqp.StateChanged{last}
}

// tellStates tells listeners of the end, and closes them. Each has a goroutine of
// its own for as long as patience lasts, so that nobody waits for it.
func tellStates(listeners []chan *amqp.StateChanged, changes []*amqp.StateChanged) {
	for _, l := range listeners {
		go func() {
			defer close(l)
			t := time.NewTimer(patience)
			defer t.Stop()
			for _, c := range changes {
				select {
				case l <- c:
				case <-t.C:
					return
				}
			}
		}()
	}
}
