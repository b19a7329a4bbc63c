package queue

import "github.com/warrenmq/warren/message"

// publishers are those who published to a queue that refuses what is too much. It takes
// one message more than its limit; then it tells all of them, and they are refused until
// it is down to four fifths. Whoever comes new is refused while it is over its limit, and
// let in otherwise (contract 05 §6, rabbit_fifo:evaluate_limit/5). Who asks for no
// confirms cannot be told apart.
type publishers struct {
	// refused has all of them, and whether they are refused; count is how many are.
	refused map[any]bool
	count   int
}

// maxPublishers is how many of them are remembered. Whoever is not is refused while
// the queue is over its limit, and only then.
const maxPublishers = 1024

// blocks reports whether a publisher is refused by a queue that is over its limit or not,
// and remembers it.
func (p *publishers) blocks(by message.Confirmer, over bool) bool {
	if p.refused == nil {
		p.refused = map[any]bool{}
	}
	who := any(by)
	if of, ok := by.(message.Publisher); ok {
		who = of.Publisher()
	}
	refused, known := p.refused[who]
	if known {
		return refused
	}
	if len(p.refused) < maxPublishers {
		p.refused[who] = over
		if over {
			p.count++
		}
	}
	return over
}

// stop has all of them refused.
func (p *publishers) stop() {
	if p.count < len(p.refused) {
		p.set(true)
		p.count = len(p.refused)
	}
}

// admit has nobody refused. If they are too many to remember another one it begins anew,
// as most of them will be gone.
func (p *publishers) admit() {
	switch {
	case len(p.refused) == maxPublishers:
		*p = publishers{}
	case p.count > 0:
		p.set(false)
		p.count = 0
	}
}

func (p *publishers) set(refused bool) {
	for who := range p.refused {
		p.refused[who] = refused
	}
}
