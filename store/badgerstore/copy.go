package badgerstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warrenmq/warren/store"
)

// Copy copies a directory that nobody has open to another one, which is empty or
// does not exist, and changes nothing in the first: for a look at what a crash left,
// which to open for writing would tidy up. The copy is not synced. It returns an
// *OpenError for a directory that is in use or is no store, and one that wraps
// store.ErrNoSpace if there is less room at the new place than the copy may take
// when it is opened. After an error the new directory has a part of it.
func Copy(from, to string) error {
	if _, err := os.Stat(filepath.Join(from, formatFile)); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return openFailed(from, err)
		}
		return &OpenError{Path: from, Reason: "there is no store", Remedy: "name an existing one", Cause: err}
	}
	used, unlock, err := lock(from)
	if err != nil {
		return openFailed(from, err)
	}
	if used {
		return openInUse(from, nil)
	}
	if err := copyFiles(from, to); err != nil {
		return errors.Join(fmt.Errorf("badgerstore: copy %s to %s: %w", from, to, err), unlock())
	}
	return unlock()
}

func copyFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	size, err := dirUsage(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	there, err := os.ReadDir(to)
	if err != nil {
		return err
	}
	if len(there) > 0 {
		return store.ErrNotEmpty
	}
	free, err := freeSpace(to)
	if err != nil {
		return err
	}
	if need := size + minReserve(); free < need {
		return fmt.Errorf("%w: %d octets are free, and the copy may take %d", store.ErrNoSpace, free, need)
	}
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != lockFile {
			if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyFile copies a file and leaves out the parts that are empty: badger makes its
// logs long and fills them later.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	buf, zeros := make([]byte, 1<<16), make([]byte, 1<<16)
	for at := int64(0); at < info.Size(); {
		n, err := in.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		if !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	return nil
}
