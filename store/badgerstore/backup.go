package badgerstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/warrenmq/warren/store"
)

// Backup writes all that is in the store to w, as it was at one moment; the store
// can be used meanwhile. It is in the form of store.Backup and not encrypted.
func (s *Store) Backup(w io.Writer) error { return store.Backup(s, w) }

// Restore makes a store of a backup, in a directory that is empty or does not exist,
// and closes it. After an error the directory is empty again.
func Restore(dir string, o Options, r io.Reader) (err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return openFailed(dir, err)
	}
	if len(entries) > 0 {
		return &OpenError{Path: dir, Reason: "it is not empty", Remedy: "restore into an empty directory", Cause: store.ErrNotEmpty}
	}
	o.ReadOnly = false
	s, err := Open(dir, o)
	if err != nil {
		return err
	}
	err = errors.Join(store.Restore(s, r), s.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("badgerstore: restore to %s: %w", dir, err), empty(s.dir))
	}
	return nil
}

// empty removes what is in a directory.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
