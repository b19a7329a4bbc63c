package channel

// Waiting is how many consumers wait for room.
func (ch *Channel) Waiting() int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return len(ch.waiting)
}

// Remembered counts the exchanges, routes and queues that are remembered.
func (ch *Channel) Remembered() int {
	n := 0
	for _, k := range ch.routes.exchanges {
		n++
		for _, rt := range k.routes {
			n += 1 + len(rt.hosts)
		}
	}
	return n
}

// MaxRemembered is what Remembered may be.
const MaxRemembered = maxRemembered
