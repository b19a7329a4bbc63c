package queue

import (
	"slices"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// CheckEquivalent decides whether an active declare of an existing queue asks
// for the queue that is there (contract 05 §3). caps are those of the existing
// queue's type; declared.Owner is the declaring connection if declared is
// exclusive. The first difference is the error, a *reply.Error.
//
// Arguments are compared as they are: a value that would be refused for a new
// queue is just another value here, and one the type does not know is ignored.
func CheckEquivalent(existing Spec, caps Capabilities, declared Spec) error {
	if existing.Exclusive != declared.Exclusive || existing.Exclusive && existing.Owner != declared.Owner {
		return locked(existing)
	}
	if transient(existing) != transient(declared) {
		return inequivalent("durable", existing, term(!transient(declared)), term(!transient(existing)))
	}
	if existing.AutoDelete != declared.AutoDelete {
		return inequivalent("auto_delete", existing, term(declared.AutoDelete), term(existing.AutoDelete))
	}
	for _, name := range caps.Arguments {
		if err := compareArgument(name, existing, declared); err != nil {
			return err
		}
	}
	if !slices.Contains(caps.Arguments, argQueueType) {
		return compareArgument(argQueueType, existing, declared)
	}
	return nil
}

// CheckOwner refuses the use of an exclusive queue by another connection than
// the one that declared it, with the RESOURCE_LOCKED error of contract 03 §8.
func CheckOwner(s Spec, connection uint64) error {
	if s.Exclusive && s.Owner != connection {
		return locked(s)
	}
	return nil
}

func locked(s Spec) error {
	return reply.Errorf(reply.ResourceLocked, "cannot obtain exclusive access to locked %s. "+
		"It could be originally declared on another connection or the exclusive property value "+
		"does not match that of the original declaration.", resource(s))
}

func compareArgument(name string, existing, declared Spec) error {
	current, has := existing.Arguments.Get(name)
	received, wants := declared.Arguments.Get(name)
	switch {
	case !has && !wants:
		return nil
	case has && wants:
		if sameValue(current, received) {
			return nil
		}
		return mismatch(name, existing, bare(received), bare(current))
	case name == argQueueType && (current == defaultType || received == defaultType):
		return nil
	case has:
		return mismatch(name, existing, "none", described(current))
	default:
		return mismatch(name, existing, described(received), "none")
	}
}

// sameValue compares as RabbitMQ does: by value, so that integers of any width,
// timestamps, and strings and binaries can equal each other, but a whole float
// does not equal an integer. Elements of tables and arrays are compared with
// their types.
func sameValue(a, b any) bool {
	if x, ok := floatOf(a); ok {
		y, ok := floatOf(b)
		return ok && x == y
	}
	return term(a) == term(b)
}

// bare prints a value where the other side has one too. A void prints like
// nothing at all, as in RabbitMQ.
func bare(v any) string {
	if v == nil {
		return "none"
	}
	return "'" + plain(v) + "'"
}

// described prints a value where the other side has none.
func described(v any) string {
	return "the value '" + plain(v) + "' of type '" + message.TypeName(v) + "'"
}

func inequivalent(name string, s Spec, received, current string) error {
	return mismatch(name, s, "'"+received+"'", "'"+current+"'")
}

func mismatch(name string, s Spec, received, current string) error {
	return reply.Errorf(reply.PreconditionFailed, "inequivalent arg '%s' for %s: received %s but current is %s",
		name, resource(s), received, current)
}
