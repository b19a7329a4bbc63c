package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The file that says what the directory is. It is the first that is written and
// the first that is read.
const (
	formatFile = "WARREN"
	formatText = "warren store, format %d\n"
	// format is the version of what is in the directory. It changes when an older
	// Warren would misread what a newer one writes.
	format = 1
	// lockFile is badger's, where it locks by a file.
	lockFile = "LOCK"
	// newFormatFile begins the name of a format file that is being written.
	newFormatFile = formatFile + ".new"
)

// prepare checks that dir is a store that this version can open, and makes it one
// if it does not exist or is empty.
func prepare(dir string, readOnly bool) error {
	text, err := os.ReadFile(filepath.Join(dir, formatFile))
	switch {
	case err == nil:
		return checkFormat(dir, string(text))
	case errors.Is(err, fs.ErrNotExist):
		return create(dir, readOnly)
	default:
		return openFailed(dir, err)
	}
}

func checkFormat(dir, text string) error {
	var n int
	if _, err := fmt.Sscanf(text, formatText, &n); err != nil || n < 1 {
		return &DamagedError{
			Path: filepath.Join(dir, formatFile), Cause: fmt.Errorf("it says %q", text),
			Remedy: "restore a backup, or name the right directory",
		}
	}
	if n > format {
		return &OpenError{
			Path: dir, Reason: fmt.Sprintf("it has format %d, and this version of Warren knows formats up to %d", n, format),
			Remedy: "use the version that wrote it or a newer one",
		}
	}
	return nil
}

// create makes an empty directory a store.
func create(dir string, readOnly bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return openFailed(dir, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newFormatFile) {
			return &OpenError{
				Path: dir, Reason: "it has files in it and is no store of Warren's",
				Remedy: "name an empty directory, or one that does not exist yet",
			}
		}
	}
	if readOnly {
		return &OpenError{Path: dir, Reason: "there is no store", Remedy: "name an existing one, or open it for writing", Cause: err}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return openFailed(dir, err)
	}
	if err := writeFormat(dir); err != nil {
		return openFailed(dir, err)
	}
	return nil
}

// writeFormat writes the format file, whole or not at all.
func writeFormat(dir string) (err error) {
	f, err := os.CreateTemp(dir, newFormatFile)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = fmt.Fprintf(f, formatText, format)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, formatFile)); err != nil {
		return err
	}
	return syncDir(dir)
}

// openFailed puts an error of the operating system into words.
func openFailed(dir string, err error) error {
	e := &OpenError{Path: dir, Reason: "it cannot be opened", Remedy: "see to it that it can be read and written", Cause: err}
	info, statErr := os.Stat(dir)
	switch {
	case statErr == nil && !info.IsDir():
		e.Reason, e.Remedy = "it is not a directory", "name a directory"
	case errors.Is(err, fs.ErrPermission):
		e.Reason, e.Remedy = "permission is denied", "give this user the right to read and write it and its files"
	}
	return e
}

// checkFiles sees whether each file may be opened as badger will, since badger
// ends the process for some that it cannot.
func checkFiles(dir string, readOnly bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return openFailed(dir, err)
	}
	flag := os.O_RDWR
	if readOnly {
		flag = os.O_RDONLY
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), flag, 0)
		if err != nil {
			return openFailed(dir, err)
		}
		if err := f.Close(); err != nil {
			return openFailed(dir, err)
		}
	}
	return nil
}
