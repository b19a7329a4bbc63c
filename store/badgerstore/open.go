package badgerstore

import (
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"

	badger "github.com/dgraph-io/badger/v4"
)

// Open opens the store in a directory, and makes the directory if it does not
// exist or is empty.
//
// It refuses with an *OpenError a directory that another process has open, that
// has a newer format, is no store, may not be read and written, or lies on a file
// system that is all but full (store.ErrNoSpace); and with a
// *DamagedError one in which something cannot be read, except at the end of a
// log, where a crash may have left a part of a batch: that is cut off, counted
// (Recovery) and logged. It checks all that before it writes anything.
//
// It reads tables and the newest logs, and no value that is in a value log that
// was finished: about a second for a GiB of tables, up to that GiB.
func Open(dir string, o Options) (*Store, error) { return openPaced(dir, o, usualPace) }

func openPaced(dir string, o Options, p pace) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if dir == "" {
		return nil, &OpenError{Reason: "the name of the directory is empty", Remedy: "name a directory"}
	}
	if o.ReadOnly && runtime.GOOS == "windows" {
		return nil, &OpenError{Path: dir, Reason: "reading only is not possible on Windows", Cause: ErrNeedsWriting, Remedy: "open it for writing"}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, openFailed(dir, err)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if !o.ReadOnly {
		if err := checkOpenSpace(dir, o); err != nil {
			return nil, err
		}
	}
	if err := prepare(dir, o.ReadOnly); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, options: o, log: log, free: freeSpace}
	if err := s.openBadger(); err != nil {
		return nil, err
	}
	if !o.ReadOnly {
		s.maintenance.start(s, p)
	}
	return s, nil
}

// openBadger checks what is there and opens it.
func (s *Store) openBadger() error {
	used, err := inUse(s.dir, s.options.ReadOnly)
	if err != nil {
		return openFailed(s.dir, err)
	}
	if used {
		return openInUse(s.dir, nil)
	}
	if err := checkFiles(s.dir, s.options.ReadOnly); err != nil {
		return err
	}
	o := s.options.badgerOptions(s.dir, &logger{log: s.log, failed: func(err error) { _ = s.fail(err) }})
	if err := checkTables(s.dir, o); err != nil {
		return err
	}
	logs, err := inspectLogs(s.dir, s.options.Salvage, s.log)
	if err != nil {
		var damaged *DamagedError
		if errors.As(err, &damaged) {
			return err
		}
		return openFailed(s.dir, err)
	}
	if s.options.ReadOnly && logs.unfinished {
		return &OpenError{
			Path: s.dir, Reason: "it was not closed in an orderly way", Cause: ErrNeedsWriting,
			Remedy: "open it for writing once, or open a copy (Copy) for writing",
		}
	}
	if err := logs.giveLength(o.MemTableSize); err != nil {
		return openFailed(s.dir, err)
	}
	if s.db, err = badger.Open(o); err != nil {
		return s.badgerFailed(err)
	}
	if s.options.ReadOnly {
		return nil
	}
	torn, err := logs.tornValues()
	if err != nil {
		return errors.Join(openFailed(s.dir, err), s.db.Close())
	}
	s.recovery = logs.recovery
	s.recovery.add(torn)
	if s.recovery.TornFiles > 0 {
		s.log.Warn("unfinished batches at the ends of logs were cut off", "dir", s.dir,
			"files", s.recovery.TornFiles, "octets", s.recovery.TornBytes)
	}
	return nil
}

// badgerFailed puts an error of badger.Open into words.
func (s *Store) badgerFailed(err error) error {
	if errors.Is(err, badger.ErrEncryptionKeyMismatch) {
		return wrongKey(s.dir, err)
	}
	if used, lockErr := inUse(s.dir, s.options.ReadOnly); lockErr == nil && used {
		return openInUse(s.dir, err)
	}
	return openFailed(s.dir, err)
}

func openInUse(dir string, cause error) error {
	return &OpenError{
		Path: dir, Reason: "another process has it open", Cause: cause,
		Remedy: "end that process, or name another directory",
	}
}
