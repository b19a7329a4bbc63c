package badgerstore

import (
	"time"

	"github.com/warrenmq/warren/store"
)

const (
	Threshold  = threshold
	SmallValue = smallValue
	MaxKey     = maxKey
	Format     = format
)

// OpenPaced opens a store whose maintenance runs at another pace.
func OpenPaced(dir string, o Options, tick time.Duration, every int64, quiet int) (*Store, error) {
	return openPaced(dir, o, pace{tick, every, quiet})
}

// Flush is maintenance.flush, and with settle waits as a round does.
func (s *Store) Flush(settle bool) error {
	full, err := s.maintenance.flush()
	if err == nil && settle {
		s.maintenance.settle(full)
	}
	return err
}

// Collect is maintenance.collect.
func (s *Store) Collect() (files int, err error) { return s.maintenance.collect() }

// SetFree has the store see another amount of free space.
func (s *Store) SetFree(free func() (int64, error)) {
	s.free = func(string) (int64, error) { return free() }
}

// BadgerSyncFails says to the store what badger says when an fsync of its value
// log has failed.
func (s *Store) BadgerSyncFails(err error) {
	s.db.Opts().Logger.Errorf(syncFailed+": %v\n", err)
}

// ReadLog is readLog.
func ReadLog(data []byte) (end, lost int) {
	l := readLog(data)
	return l.end, l.lost
}

// OpenFailed is openFailed.
func OpenFailed(dir string, err error) error { return openFailed(dir, err) }

var _ store.Store = (*Store)(nil)
