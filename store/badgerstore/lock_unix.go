//go:build unix && !aix && !solaris && !illumos

package badgerstore

import (
	"errors"
	"os"
	"syscall"
)

// inUse says whether another process, or another Store of this one, has dir open
// in a way that keeps us out. It asks for badger's lock and gives it back, so that
// nothing is looked at that is being written; badger asks again.
func inUse(dir string, readOnly bool) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	how := syscall.LOCK_EX | syscall.LOCK_NB
	if readOnly {
		how = syscall.LOCK_SH | syscall.LOCK_NB
	}
	err = syscall.Flock(int(f.Fd()), how)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// lock takes badger's lock, for itself alone, until unlock is called. used says that
// somebody else has it.
func lock(dir string) (used bool, unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return true, nil, f.Close()
	case err != nil:
		return false, nil, errors.Join(err, f.Close())
	}
	return false, f.Close, nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
