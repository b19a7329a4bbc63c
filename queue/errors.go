package queue

import "errors"

var (
	// ErrInUse is returned by Delete with ifUnused for a queue with consumers.
	ErrInUse = errors.New("queue in use")
	// ErrNotEmpty is returned by Delete with ifEmpty for a queue with ready
	// messages.
	ErrNotEmpty = errors.New("queue not empty")
	// ErrExclusiveUse is returned by Consume when an exclusive consumer is there,
	// or when an exclusive consumer is asked for and others are there.
	ErrExclusiveUse = errors.New("queue in exclusive use")
	// ErrGone is returned by a Host whose queue was deleted or failed.
	ErrGone = errors.New("queue gone")
)
