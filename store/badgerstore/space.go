package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/warrenmq/warren/store"
)

// usageAge is how old the figure for what the directory occupies may be.
const usageAge = time.Second

// usage remembers what the directory occupies, since finding out means looking
// at each file.
type usage struct {
	mu    sync.Mutex
	bytes int64
	at    time.Time
}

// Space implements store.Store. Used is at most a second old and counts what the
// files occupy, which is less than their length: badger's files are made long
// and filled later.
func (s *Store) Space() (store.Space, error) {
	if !s.users.Enter() {
		return store.Space{}, ErrClosed
	}
	defer s.users.Leave()
	free, err := s.free(s.dir)
	if err != nil {
		return store.Space{}, fmt.Errorf("badgerstore: free space of %s: %w", s.dir, err)
	}
	used, err := s.usage()
	if err != nil {
		return store.Space{}, err
	}
	return store.Space{Free: free, Reserve: s.options.reserve(), Used: used}, nil
}

func (s *Store) usage() (int64, error) {
	s.used.mu.Lock()
	defer s.used.mu.Unlock()
	if !s.used.at.IsZero() && time.Since(s.used.at) < usageAge {
		return s.used.bytes, nil
	}
	n, err := dirUsage(s.dir)
	if err != nil {
		return 0, fmt.Errorf("badgerstore: what %s occupies: %w", s.dir, err)
	}
	s.used.bytes, s.used.at = n, time.Now()
	return n, nil
}

// dirUsage sums up what the files of a directory occupy. Files that go away
// meanwhile count nothing.
func dirUsage(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if info.Mode().IsRegular() {
			n += occupied(info)
		}
	}
	return n, nil
}

// checkSpace refuses a batch when there is too little room for it.
func (s *Store) checkSpace(changes []store.Change) error {
	free, err := s.free(s.dir)
	if err != nil {
		return fmt.Errorf("badgerstore: free space of %s: %w", s.dir, err)
	}
	reserve := s.options.reserve()
	if free >= reserve || free >= shrinkReserve(reserve) && onlyShrinks(changes) {
		return nil
	}
	return fmt.Errorf("%w: %s has %d octets free, %d are kept in reserve", store.ErrNoSpace, s.dir, free, reserve)
}

// The reserve in quarters: how much must be left for what gives room back to pass,
// for the maintenance to collect, and for a directory to be opened. Each covers what
// may be written on the way to the next.
func shrinkReserve(reserve int64) int64 { return reserve - reserve/4 }

func collectReserve() int64 { return minReserve() / 2 }

func (o Options) openReserve() int64 { return min(minReserve(), o.reserve()) / 4 }

func onlyShrinks(changes []store.Change) bool {
	for i := range changes {
		if !changes[i].Delete && !changes[i].Shrinks {
			return false
		}
	}
	return true
}

// checkOpenSpace refuses to open a directory where badger would not find the room
// for what it does when it opens: a page that it cannot get ends the process.
func checkOpenSpace(dir string, o Options) error {
	at := dir
	for {
		_, err := os.Stat(at)
		if parent := filepath.Dir(at); errors.Is(err, fs.ErrNotExist) && parent != at {
			at = parent
			continue
		}
		break
	}
	free, err := freeSpace(at)
	if err != nil {
		return openFailed(dir, err)
	}
	if need := o.openReserve(); free < need {
		return &OpenError{
			Path: dir, Cause: store.ErrNoSpace,
			Reason: fmt.Sprintf("its file system has %d octets free, and opening it may take %d", free, need),
			Remedy: "make room there, or move the directory to a larger file system",
		}
	}
	return nil
}
