package message

// ConsumerID names a consumer within one queue. It is never reused for
// another consumer of the same queue; 0 names none.
type ConsumerID uint64

// Confirmer is told what became of the publishes of one channel. It is the
// channel's confirm tracker.
//
// Its methods are called by whichever goroutine runs a queue; they must not
// block, and never call back into a queue.
type Confirmer interface {
	// Confirm settles the publishes from..to for one of the queues each was
	// routed to.
	Confirm(from, to uint64)
	// Reject says that one of the queues refused publish seq.
	Reject(seq uint64)
}

// Publisher is a Confirmer that says who published, where that is not itself: it hears
// of some of a channel's publishes, and not of all. A Confirmer that is no Publisher is
// taken for who published.
type Publisher interface {
	Confirmer
	// Publisher gives a comparable value that is the same for all publishes of one
	// channel, and never that of another. A queue may remember it for longer than the
	// channel lives, so that it should not keep it in memory.
	Publisher() any
}

// PublishRef names one publish of one channel, so that a queue can say that it
// took or refused it. The zero PublishRef wants no answer. To a queue it is
// opaque: it comes with a Publish and goes back in Actions.
type PublishRef struct {
	By  Confirmer
	Seq uint64
}

// Wanted reports whether the publisher wants to be told.
func (r PublishRef) Wanted() bool { return r.By != nil }
