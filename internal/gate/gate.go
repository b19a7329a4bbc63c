// Package gate counts who is inside something that can be shut, so that shutting
// it can wait for them.
package gate

import "sync"

// Gate lets any number of goroutines in until it is shut. Unlike a read lock it
// may be entered again by who is inside: while Shut waits the second Enter is
// refused, and nobody waits for ever. The zero value is open.
type Gate struct {
	mu     sync.Mutex
	inside int
	shut   bool
	empty  chan struct{} // made by the first Shut that has to wait
}

// Enter counts the caller in, who then calls Leave, or refuses with false once
// the gate is shut.
func (g *Gate) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.inside++
	return true
}

// Leave counts the caller out.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// Shut lets nobody in any more and waits until the last one has left. It says
// whether this call was the one that shut the gate; a later call does not wait.
func (g *Gate) Shut() bool {
	g.mu.Lock()
	if g.shut {
		g.mu.Unlock()
		return false
	}
	g.shut = true
	if g.inside == 0 {
		g.mu.Unlock()
		return true
	}
	empty := make(chan struct{})
	g.empty = empty
	g.mu.Unlock()
	<-empty
	return true
}
