package store

import "errors"

// Store is an ordered map from short binary keys to values on some medium. It
// is what a user supplies to have Warren keep its state somewhere else; the one
// that comes with Warren is store/badgerstore. Package msgstore puts queues and
// definitions on top of any Store.
//
// Apply is called by one goroutine at a time; Get, Scan and Space by any number
// of goroutines, also while Apply runs. A reader sees a whole batch or nothing
// of it. No method may be called after Close.
type Store interface {
	// Apply carries out all the changes or none of them, in their order, and
	// returns when they are durable. It does not keep the slices it is given.
	//
	// ErrNoSpace means that nothing was written and that it may be tried again
	// later. After any other error nobody knows what is on the medium until it
	// is opened again: Apply then returns an error for ever.
	Apply(changes []Change) error
	// Get calls use with the value of key, which is valid during the call only,
	// and returns what use returns. It returns ErrNotFound if there is none.
	Get(key []byte, use func(value []byte) error) error
	// Scan calls each for the keys from (included) to to (excluded; nil for no
	// end) in ascending order, and ends with the first error, which it returns.
	// Key and value are valid during the call only. With keysOnly the values are
	// nil and are not read.
	Scan(from, to []byte, keysOnly bool, each func(key, value []byte) error) error
	// Limits is the largest batch that Apply takes. It never changes.
	Limits() Limits
	// Space tells how much room the medium has.
	Space() (Space, error)
	// Close waits for readers, makes everything durable and gives the medium
	// free for another process.
	Close() error
}

// Change is one change of a Store: Key gets Value, or loses what it had if
// Delete is set. An empty value is a value.
type Change struct {
	Key, Value []byte
	Delete     bool
	// Shrinks says of a small value that writing it is a step to giving room
	// back, as a note that messages were removed is. A Store may let it pass, like
	// a Delete, where it has no room for anything else.
	Shrinks bool
}

// Limits is how much one Apply takes: the sum of the lengths of keys and values
// in octets, and the number of changes. One change on its own may be of
// MaxBytes.
type Limits struct {
	MaxBytes   int64
	MaxChanges int
}

// Space is the room on a medium, in octets. A Store refuses to Apply with
// ErrNoSpace when Free is below Reserve; a batch whose changes all delete or
// shrink may pass a little longer. Without a bound both are zero.
type Space struct {
	Free, Reserve int64
	// Used is what the store itself occupies.
	Used int64
}

var (
	// ErrNotFound is what Get returns for a key without a value.
	ErrNotFound = errors.New("store: no value for this key")
	// ErrNoSpace is what Apply returns, before it writes anything, when the
	// medium has too little room left. Errors wrap it.
	ErrNoSpace = errors.New("store: not enough space left")
)
