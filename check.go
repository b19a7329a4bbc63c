package warren

import (
	"errors"
	"fmt"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/msgstore"
)

// StoreReport is what CheckStore counted.
type StoreReport struct {
	// What was declared, and who may use it.
	VHosts, Users, Permissions, TopicPermissions, Exchanges, Queues, Bindings int
	// Policies counts those of operators, too.
	Policies int
	// Messages is how many messages are in queues, and Octets the sum of their
	// bodies: a message in two queues counts twice.
	Messages, Octets int64
	// Packs is in how many records messages lie, and Orphans how many records a
	// crash left before they came to count. Orphans do no harm; the next broker
	// removes them.
	Packs, Orphans int
	// Damaged is how many problems were told.
	Damaged int
}

// CheckStore reads everything that a broker left in a store, messages with their
// checksums included, and changes nothing. It tells problem each thing that is wrong;
// StoreReport.Damaged is their number. The error is that of a store that cannot be read or
// that is not a broker's of this version; the report is what was counted until
// then. Nobody may write to the store meanwhile: it is for a store without a broker.
func CheckStore(s store.Store, problem func(error)) (StoreReport, error) {
	messages, err := msgstore.Check(s, problem)
	r := StoreReport{
		Messages: int64(messages.Messages), Octets: messages.Octets,
		Packs: messages.Packs, Orphans: messages.Orphans, Damaged: messages.Damaged,
	}
	if err != nil {
		return r, fmt.Errorf("warren: check a store: %w", err)
	}
	k := newKept()
	err = msgstore.Definitions(s, func(kind byte, key, value []byte) error {
		if err := k.read(kind, key, value); err != nil {
			r.Damaged++
			problem(err)
		}
		return nil
	})
	r.VHosts, r.Users, r.Permissions, r.TopicPermissions = len(k.vhosts), len(k.users), len(k.permissions), len(k.topics)
	r.Exchanges, r.Queues, r.Bindings, r.Policies = len(k.exchanges), len(k.queues), len(k.bindings), len(k.policies)
	if r.Damaged == 0 && k.counter == 0 && r.VHosts > 0 {
		r.Damaged++
		problem(errors.New("there are definitions, but not the record of the numbers that were given out"))
	}
	if err != nil {
		return r, fmt.Errorf("warren: check a store: %w", err)
	}
	return r, nil
}
