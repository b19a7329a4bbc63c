//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// rawWays are what a durable publish is made of. Each writes, in turn, as many
// messages as publishers have unconfirmed, from one goroutine.
var rawWays = []way{
	{wayAppend, runAppend},
	{wayPacked, runBadger(putPacked)},
	{wayKeys, runBadger(putKeys)},
	{wayTrip, runTrip(false)},
	{wayServed, runTrip(true)},
}

// bodies gives n messages that cannot be compressed.
func bodies(n, size int) [][]byte {
	all := make([]byte, n*size)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(all)
	out := make([][]byte, n)
	for i := range out {
		out[i] = all[i*size : (i+1)*size]
	}
	return out
}

// runAppend appends to a file and waits for its data.
func runAppend(path string, s shape, d time.Duration) (_ sample, err error) {
	f, err := os.Create(path)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	messages := bodies(s.group(), s.size)
	var buf []byte
	return timed(d, func() (int, error) {
		buf = buf[:0]
		for _, m := range messages {
			buf = append(buf, m...)
		}
		if _, err := f.Write(buf); err != nil {
			return 0, err
		}
		return len(messages), syscall.Fdatasync(int(f.Fd()))
	})
}

// keptGroups is how many groups later a group is deleted, in one transaction with
// what is written.
const keptGroups = 8

// put puts the i-th group of messages into a transaction, and deletes an old one.
type put func(tx *badger.Txn, i uint64, messages [][]byte) error

// runBadger commits groups to a badger.
func runBadger(f put) func(string, shape, time.Duration) (sample, error) {
	return func(dir string, s shape, d time.Duration) (_ sample, err error) {
		db, err := openBadger(dir)
		if err != nil {
			return sample{}, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		messages := bodies(s.group(), s.size)
		i := uint64(0)
		return timed(d, func() (int, error) {
			err := db.Update(func(tx *badger.Txn) error { return f(tx, i, messages) })
			i++
			return len(messages), err
		})
	}
}

// openBadger opens a badger with the options that were the best of those that are
// durable; see BenchmarkBadger of store/badgerstore.
func openBadger(dir string) (*badger.DB, error) {
	const mib = 1 << 20
	return badger.Open(badger.DefaultOptions(dir).WithLogger(nil).WithMetricsEnabled(false).
		WithSyncWrites(true).WithDetectConflicts(false).
		WithCompression(options.None).WithBlockCacheSize(0).
		WithMemTableSize(8 * mib).WithNumMemtables(1).WithNumLevelZeroTables(1).WithNumCompactors(2).
		WithValueThreshold(2 << 10).WithValueLogFileSize(32 * mib))
}

// putPacked puts a group into one value.
func putPacked(tx *badger.Txn, i uint64, messages [][]byte) error {
	value := make([]byte, 0, len(messages)*len(messages[0]))
	for _, m := range messages {
		value = append(value, m...)
	}
	if i >= keptGroups {
		if err := tx.Delete(binary.BigEndian.AppendUint64(nil, i-keptGroups)); err != nil {
			return err
		}
	}
	return tx.Set(binary.BigEndian.AppendUint64(nil, i), value)
}

// putKeys gives each message a key of its own.
func putKeys(tx *badger.Txn, i uint64, messages [][]byte) error {
	key := func(group uint64, message int) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, group), uint32(message))
	}
	for n, m := range messages {
		if i >= keptGroups {
			if err := tx.Delete(key(i-keptGroups, n)); err != nil {
				return err
			}
		}
		if err := tx.Set(key(i, n), m); err != nil {
			return err
		}
	}
	return nil
}

// runTrip sends a message over a TCP connection of this machine to another process,
// this program again, and waits for a short answer. With commit the other one commits
// the message to a badger of its own before it answers: what a durable publish at
// window 1 is made of, in one piece, with processors that fall asleep as they do then.
func runTrip(commit bool) func(string, shape, time.Duration) (sample, error) {
	return func(dir string, s shape, d time.Duration) (_ sample, err error) {
		self, err := os.Executable()
		if err != nil {
			return sample{}, err
		}
		other := exec.Command(self, "-answer", strconv.Itoa(s.size))
		if commit {
			other.Args = append(other.Args, "-answer-from", dir)
		} else {
			d /= 4
		}
		out, err := other.StdoutPipe()
		if err != nil {
			return sample{}, err
		}
		if err := other.Start(); err != nil {
			return sample{}, err
		}
		defer func() { err = errors.Join(err, other.Wait()) }()
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			return sample{}, errors.Join(err, other.Process.Kill())
		}
		c, err := net.Dial("tcp", strings.TrimSpace(addr))
		if err != nil {
			return sample{}, errors.Join(err, other.Process.Kill())
		}
		message, reply := make([]byte, s.size), make([]byte, 1)
		got, err := timed(d, func() (int, error) {
			if _, err := c.Write(message); err != nil {
				return 0, err
			}
			_, err := io.ReadFull(c, reply)
			return 1, err
		})
		return got, errors.Join(err, c.Close())
	}
}

// answer prints an address, and answers each message of the one connection to it:
// with dir, after it has committed the message to a badger there.
func answer(size int, dir string) (err error) {
	commit := func([]byte) error { return nil }
	if dir != "" {
		db, openErr := openBadger(dir)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		i := uint64(0)
		commit = func(message []byte) error {
			i++
			return db.Update(func(tx *badger.Txn) error { return putPacked(tx, i, [][]byte{message}) })
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println(l.Addr())
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	for message := make([]byte, size); ; {
		if _, err := io.ReadFull(c, message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := commit(message); err != nil {
			return err
		}
		if _, err := c.Write(message[:1]); err != nil {
			return err
		}
	}
}
