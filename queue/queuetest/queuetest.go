// Package queuetest tests that a queue type keeps the contract of package
// queue. It knows nothing of any type: it drives the state machine as a host
// would, and plays the store with answers that come late and in odd groups.
//
// A type of one's own is tested by one line in its package:
//
//	func TestQueue(t *testing.T) { queuetest.Run(t, MyType()) }
package queuetest

import (
	"slices"
	"testing"

	"github.com/warrenmq/warren/queue"
)

// behaviour is one named test.
type behaviour struct {
	name string
	run  func(*testing.T, queue.Type)
}

// Run tests a type whose queues are first in, first out and give a requeued
// message its original position, as RabbitMQ's classic queues do (contract 05
// §4). Its subtests run in parallel. Tests of what only a durable queue can do
// are left out for a type that asks nothing of the store, and those of priorities for
// one without x-max-priority.
//
// except names the tests of what the type does differently on purpose; a name that
// there is no test of fails.
func Run(t *testing.T, typ queue.Type, except ...string) {
	t.Helper()
	caps := typ.Capabilities()
	all := append(deliveries(caps), requests()...)
	if usesStore(t, typ) {
		all = append(all, stored(caps)...)
	}
	if hasPriorities(caps) {
		all = append(all, behaviour{"random histories with priorities", priorityHistories})
		if usesStore(t, typ) {
			all = append(all, behaviour{"random histories with priorities and a late store", storedPriorityHistories})
		}
	}
	for _, name := range except {
		i := slices.IndexFunc(all, func(b behaviour) bool { return b.name == name })
		if i < 0 {
			t.Fatalf("there is no test %q to leave out", name)
		}
		all = slices.Delete(all, i, i+1)
	}
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			b.run(t, typ)
		})
	}
}

func hasPriorities(caps queue.Capabilities) bool {
	return slices.Contains(caps.Arguments, argMaxPriority) && !slices.Contains(caps.Unimplemented, argMaxPriority)
}
