// Package limiter holds the limits that keep memory between a socket and a queue
// bounded:
//
//   - Prefetch is the limit that all consumers of a channel share: basic.qos
//     with the global bit.
//   - Window is the room in an outbox, counted in octets.
//   - Alarms is what a broker is short of, and why nobody may publish.
//
// None of them knows what it limits, waits, starts a goroutine or reads a clock.
//
// # Waiting for a Prefetch or a Window
//
// Neither keeps a list of those it refused; whoever owns it does. A party that
// is refused must register as waiting and then ask once more:
//
//	if w.TryTake(n) {
//		return true
//	}
//	waiting.add(me)
//	if !w.TryTake(n) {
//		return false // A release to come finds me in the list.
//	}
//	waiting.remove(me)
//	return true
//
// A party that gives something back and is told that the limit opened must take
// the whole list and let everyone on it ask again, in rotation so that nobody
// is always the last:
//
//	if w.Release(n) {
//		for _, p := range waiting.takeAll() {
//			p.askAgain()
//		}
//	}
//
// No wake-up is lost: the second question either comes after the release, and
// then it finds room, or the release comes after the registration, and then it
// finds the registration. An opening has only to be reported once because
// everyone who is refused afterwards closes the limit anew.
//
// A party that needs two limits at once and is refused by the second has to give
// the first back with Release, and must obey that answer like any other.
package limiter
