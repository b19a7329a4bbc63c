package amqp091

import (
	"fmt"
	"reflect"
	"unsafe"

	amqp "github.com/rabbitmq/amqp091-go"
)

// An amqp.DeferredConfirmation that is worth anything can only be made inside of
// the client: the channel that it waits for has no exported name. So it is
// reached through a struct of the same layout, which Open compares field by
// field, so that a client with another one is refused and no memory harmed.

// deferredLayout has the fields of amqp.DeferredConfirmation.
type deferredLayout struct {
	DeliveryTag uint64

	done chan struct{}
	ack  bool
}

// checkDeferred refuses a version of the client whose DeferredConfirmation is not
// the one that this package knows.
func checkDeferred() error {
	return sameLayout(reflect.TypeFor[amqp.DeferredConfirmation](), reflect.TypeFor[deferredLayout]())
}

func sameLayout(theirs, ours reflect.Type) error {
	same := theirs.NumField() == ours.NumField() && theirs.Size() == ours.Size()
	for i := 0; same && i < ours.NumField(); i++ {
		a, b := theirs.Field(i), ours.Field(i)
		same = a.Name == b.Name && a.Type == b.Type && a.Offset == b.Offset
	}
	if !same {
		return fmt.Errorf("amqp091: %v of %s has other fields than this package knows", theirs, theirs.PkgPath())
	}
	return nil
}

func newDeferred(tag uint64) *amqp.DeferredConfirmation {
	d := &amqp.DeferredConfirmation{DeliveryTag: tag}
	layoutOf(d).done = make(chan struct{})
	return d
}

// resolve gives a DeferredConfirmation its outcome. It may be called once.
func resolve(d *amqp.DeferredConfirmation, ack bool) {
	l := layoutOf(d)
	l.ack = ack
	close(l.done)
}

func layoutOf(d *amqp.DeferredConfirmation) *deferredLayout {
	return (*deferredLayout)(unsafe.Pointer(d))
}
