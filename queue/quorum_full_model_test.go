package queue

// This is how full a quorum queue is, and what its publishers hear of it (contract 05
// §6). RabbitMQ's queue knows everybody who has published to it. When it is over
// its limit it tells them, and whoever comes then hears it at once; when it is down to
// four fifths of it, it tells them that they may go on.

// Publishers with names of their own.
const (
	byNobody = -1 - iota // of a publish that wants no answer
	byDeath              // of a dead letter of another queue, which is never refused
)

func (m *quorumModel) bounded() bool { return m.rules.maxLength >= 0 || m.rules.maxBytes >= 0 }
func (m *quorumModel) refuses() bool { return m.bounded() && m.rules.overflow == "reject-publish" }
func (m *quorumModel) ready() int    { return len(m.returned) + len(m.fresh) }

func (m *quorumModel) bytes() int { return bytesOf(m.returned) + bytesOf(m.fresh) }

func bytesOf(xs []modelMessage) (n int) {
	for _, x := range xs {
		n += len(x.body)
	}
	return n
}

// fill is what counts for the limits: what is ready, and dead letters that are kept.
func (m *quorumModel) fill() (messages, octets int) {
	messages, octets = m.ready(), m.bytes()
	for _, l := range m.letters.kept {
		messages++
		octets += len(l.body)
	}
	return messages, octets
}

func (m *quorumModel) full() bool { return m.over(m.fill()) }

func (m *quorumModel) under() bool {
	low := func(n, limit int) bool { return limit < 0 || n <= limit*4/5 }
	messages, octets := m.fill()
	return low(messages, m.rules.maxLength) && low(octets, m.rules.maxBytes)
}

// refused reports whether a publisher is refused.
func (m *quorumModel) refused(by int) bool {
	if by == byDeath || !m.refuses() {
		return false
	}
	if _, known := m.blocked[by]; !known {
		m.blocked[by] = m.full()
	}
	return m.blocked[by]
}

// publish is refused late: one message more than the limit is let in.
func (m *quorumModel) publish(x modelMessage) bool {
	if m.refused(x.by) {
		return false
	}
	m.waiting = false
	m.stamp(&x)
	m.put(x)
	m.deliver(x.body) // before it can expire
	m.shortenLast()
	m.expire()
	m.notice()
	return true
}

// notice is what the publishers hear of how full the queue is. If it refuses nobody any
// more they may go on, where RabbitMQ forgets to tell them.
func (m *quorumModel) notice() {
	switch {
	case !m.refuses():
		clear(m.blocked)
	case m.full() || m.under():
		for by := range m.blocked {
			m.blocked[by] = m.full()
		}
	}
}
