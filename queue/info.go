package queue

// Info is what can be seen of a queue from outside, all at one moment.
type Info struct {
	Stat
	Counters
}

// Counters count what has happened to a queue since it was declared (contract 06
// §10).
type Counters struct {
	// Published counts messages that came in, dropped ones too.
	Published uint64
	// Delivered counts deliveries to consumers that acknowledge, DeliveredNoAck
	// those to consumers that do not. Got and GotNoAck are the same for basic.get,
	// GotEmpty the basic.gets that found nothing.
	Delivered, DeliveredNoAck, Got, GotNoAck, GotEmpty uint64
	// Redelivered counts those of them that had been delivered before.
	Redelivered uint64
	// Acked, Requeued and Discarded count what became of deliveries.
	Acked, Requeued, Discarded uint64
	// Confirmed and Rejected count the answers to publishers.
	Confirmed, Rejected uint64
}

// Info gives what can be seen of the queue. The error is ErrGone.
func (h *Host) Info() (info Info, err error) {
	err = ErrGone
	h.do(func() { info, err = Info{Stat: h.q.Stat(), Counters: h.counters}, nil })
	return info, err
}

// countSettles counts what a batch of settles says.
func (c *Counters) countSettles(in []Settle) {
	for i := range in {
		switch in[i].Outcome {
		case Ack:
			c.Acked++
		case Requeue, Return:
			c.Requeued++
		case Discard:
			c.Discarded++
		}
	}
}

// countDeliveries counts deliveries to one consumer.
func (c *Counters) countDeliveries(ds []Delivery, noAck bool) {
	if noAck {
		c.DeliveredNoAck += uint64(len(ds))
	} else {
		c.Delivered += uint64(len(ds))
	}
	for i := range ds {
		if ds[i].Redelivered {
			c.Redelivered++
		}
	}
}

// countGet counts the answer to a basic.get.
func (c *Counters) countGet(r GetReply, noAck bool) {
	switch {
	case r.Err != nil:
		return
	case r.Msg == nil:
		c.GotEmpty++
		return
	case noAck:
		c.GotNoAck++
	default:
		c.Got++
	}
	if r.Redelivered {
		c.Redelivered++
	}
}
