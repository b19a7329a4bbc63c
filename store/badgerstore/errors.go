package badgerstore

import "fmt"

// OpenError says why a directory cannot be opened and what to do about it.
// Nothing was written.
type OpenError struct {
	Path   string
	Reason string
	Remedy string
	// Cause is the error below, or nil.
	Cause error
}

// Error gives path, reason and remedy in one line.
func (e *OpenError) Error() string {
	text := fmt.Sprintf("badgerstore: %s: %s", e.Path, e.Reason)
	if e.Cause != nil {
		text += fmt.Sprintf(" (%v)", e.Cause)
	}
	return text + ": " + e.Remedy
}

// Unwrap gives the cause.
func (e *OpenError) Unwrap() error { return e.Cause }

// DamagedError says that a file or a value is not what was written. Open returns
// it before it writes anything; Get, Scan and Verify return it for a value.
type DamagedError struct {
	// Path is the damaged file, or the directory if badger does not tell.
	Path   string
	Cause  error
	Remedy string
}

// Error gives path, cause and remedy in one line.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("badgerstore: %s is damaged (%v): %s", e.Path, e.Cause, e.Remedy)
}

// Unwrap gives the cause.
func (e *DamagedError) Unwrap() error { return e.Cause }
