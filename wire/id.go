package wire

import "fmt"

// ID names a method: its class in the upper 16 bits, the method within it in
// the lower. There is a constant for each that this package knows.
type ID uint32

// MakeID gives the ID of a class and a method number.
func MakeID(class, method uint16) ID { return ID(class)<<16 | ID(method) }

// Class is the class number, as connection.close and channel.close have it.
func (id ID) Class() uint16 { return uint16(id >> 16) }

// Method is the method's number in its class.
func (id ID) Method() uint16 { return uint16(id) }

// String is the method's name, such as "basic.publish", or the two numbers,
// such as "60.99", for one that is not known.
func (id ID) String() string {
	if name, _ := id.info(); name != "" {
		return name
	}
	return fmt.Sprintf("%d.%d", id.Class(), id.Method())
}

// Known reports whether there is such a method.
func (id ID) Known() bool {
	name, _ := id.info()
	return name != ""
}

// HasContent reports that a content header follows the method.
func (id ID) HasContent() bool { return id.has(hasContent) }

// Sync reports that the sender waits for an answer, unless the method's NoWait
// is set.
func (id ID) Sync() bool { return id.has(isSync) }

// FromClient reports that clients may send the method.
func (id ID) FromClient() bool { return id.has(fromClient) }

// FromServer reports that servers may send the method.
func (id ID) FromServer() bool { return id.has(fromServer) }

type traits uint8

const (
	fromClient traits = 1 << iota
	fromServer
	isSync
	hasContent
)

func (id ID) has(t traits) bool {
	_, have := id.info()
	return have&t != 0
}
