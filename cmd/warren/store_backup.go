package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/warrenmq/warren/store/badgerstore"
)

// standard is the name for the standard input and output.
const standard = "-"

// numberOfWords counts what a list of arguments asks for.
func numberOfWords(arguments string) int { return len(strings.Fields(arguments)) }

// backUpStore is warren store backup.
func backUpStore(c storeCall) (err error) {
	dir, name := c.arguments[0], c.arguments[1]
	s, done, err := c.openData(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if name == standard {
		return s.Backup(c.stdout)
	}
	return writeNew(name, s.Backup)
}

// writeNew makes a file, durable and whole or not at all. It does not replace one.
func writeNew(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// restoreStore is warren store restore.
func restoreStore(c storeCall) error {
	name, dir := c.arguments[0], c.arguments[1]
	in := c.stdin
	if name != standard {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return badgerstore.Restore(dir, badgerstore.Options{}, in)
}
