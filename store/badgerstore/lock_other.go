//go:build !unix || aix || solaris || illumos

package badgerstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// inUse says whether another process has dir open: badger keeps its lock file
// open there, for nobody else to open.
func inUse(dir string, _ bool) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return true, nil
	}
	return false, f.Close()
}

// syncDir does nothing: directories cannot be synced here.
func syncDir(string) error { return nil }
