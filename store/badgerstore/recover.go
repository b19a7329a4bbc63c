package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// Recovery is what Open found of work that a process did not finish.
type Recovery struct {
	// TornFiles is how many logs ended in the middle of something, and TornBytes
	// how many octets were cut off there. In a store that is not Unsafe they
	// belong to a batch whose Apply did not return.
	TornFiles int
	TornBytes int64
}

func (r *Recovery) add(bytes int64) {
	if bytes > 0 {
		r.TornFiles++
		r.TornBytes += bytes
	}
}

// logs is what the logs were like before badger opened them.
type logs struct {
	recovery Recovery
	// unfinished says that there is a memtable's log, which an orderly Close
	// does not leave.
	unfinished bool
	// unborn are logs of memtables without length: their making was killed.
	unborn []string
	// newest is the newest file of the value log, and newestEnd the end of the last
	// octet in it that is not zero.
	newest    string
	newestEnd int64
}

// inspectLogs looks at the ends of the logs before badger does, which cuts off
// all that follows the first thing it cannot read without a word. A log of a
// memtable that goes on after such a thing is damaged and is refused, unless
// salvage is set.
func inspectLogs(dir string, salvage bool, log *slog.Logger) (logs, error) {
	var l logs
	entries, err := os.ReadDir(dir)
	if err != nil {
		return l, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".vlog":
			l.newest = path // ReadDir sorts, and the names have a fixed width
		case ".mem":
			l.unfinished = true
			if info, err := e.Info(); err == nil && info.Size() == 0 {
				l.unborn = append(l.unborn, path)
			}
			torn, err := inspectMemLog(path, salvage, log)
			if err != nil {
				return l, err
			}
			l.recovery.add(torn)
		}
	}
	if l.newest != "" {
		l.newestEnd, err = contentEnd(l.newest)
	}
	return l, err
}

// giveLength gives the logs that have none the length with which badger makes
// them: it refuses to open without. Deleting them would be wrong where another
// process is about to open the directory, too.
func (l logs) giveLength(memTableSize int64) error {
	for _, path := range l.unborn {
		if err := os.Truncate(path, 2*memTableSize); err != nil {
			return err
		}
	}
	return nil
}

// tornValues says how much badger has cut off the value log since.
func (l logs) tornValues() (int64, error) {
	if l.newest == "" {
		return 0, nil
	}
	info, err := os.Stat(l.newest)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // it was empty, and so it was removed
	}
	if err != nil {
		return 0, err
	}
	return max(0, l.newestEnd-info.Size()), nil
}

// inspectMemLog gives how many octets at the end of a memtable's log belong to
// no finished batch.
func inspectMemLog(path string, salvage bool, log *slog.Logger) (int64, error) {
	end, err := contentEnd(path)
	if err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// The sum at the end of an entry may itself end in zeros.
	data, err := io.ReadAll(io.LimitReader(f, end+crc32.Size))
	if err != nil {
		return 0, err
	}
	l := readLog(data)
	if l.lost > 0 && !salvage {
		return 0, &DamagedError{
			Path: path, Cause: fmt.Errorf("%d batches follow after octet %d, where it cannot be read", l.lost, l.end),
			Remedy: "restore a backup, or open with Options.Salvage to go on without them",
		}
	}
	if l.lost > 0 {
		log.Error("a damaged log is cut off, and finished batches are lost", "path", path, "batches", l.lost, "octets", len(data)-l.end)
	}
	return max(0, end-int64(l.end)), nil
}

// contentEnd gives the end of the last octet of a file that is not zero. Badger
// makes its logs long and fills them later.
func contentEnd(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf, zeros := make([]byte, 1<<16), make([]byte, 1<<16)
	for end := info.Size(); end > 0; {
		begin := max(0, end-int64(len(buf)))
		part := buf[:end-begin]
		if _, err := f.ReadAt(part, begin); err != nil {
			return 0, err
		}
		if !bytes.Equal(part, zeros[:len(part)]) {
			return begin + int64(len(bytes.TrimRight(part, "\x00"))), nil
		}
		end = begin
	}
	return 0, nil
}

// What badger's logs consist of: a header for the file, then entries, each with
// a header, key, value and the CRC-32C of all three. The last entry of a batch
// has logFin set, the others logTxn; what a collection moved has neither.
const (
	logHeader = 20
	logTxn    = 1 << 6
	logFin    = 1 << 7
	logMaxKey = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logState is what readLog found.
type logState struct {
	end  int // of the last finished batch
	lost int // finished batches after it that cannot be of the last Apply
}

// readLog finds the end of what badger will keep of a log. The last batch may be
// there in parts, in any order, when the machine stopped; so one end of
// a batch behind the damage proves nothing, and a second one that others were
// finished there.
func readLog(data []byte) logState {
	state := logState{end: min(logHeader, len(data))}
	inTxn := false
	at := state.end
	for {
		meta, n := logEntry(data[at:])
		if n == 0 {
			break
		}
		switch {
		case meta&logTxn != 0:
			inTxn = true
		case meta&logFin != 0:
			inTxn = false
		case inTxn:
			n = 0 // a batch without an end
		}
		if n == 0 {
			break
		}
		at += n
		if !inTxn {
			state.end = at
		}
	}
	ends := 0
	for at < len(data) {
		meta, n := logEntry(data[at:])
		if n == 0 {
			at++
			continue
		}
		if meta&logFin != 0 {
			ends++
		}
		at += n
	}
	state.lost = max(0, ends-1)
	return state
}

// logEntry gives the first octet and the length of the entry that data begins
// with; 0 if there is none.
func logEntry(data []byte) (meta byte, length int) {
	if len(data) < 2 {
		return 0, 0
	}
	at := 2
	var sizes [3]uint64 // key, value, expiry
	for i := range sizes {
		v, n := binary.Uvarint(data[at:])
		if n <= 0 {
			return 0, 0
		}
		sizes[i] = v
		at += n
	}
	key, value := sizes[0], sizes[1]
	if key == 0 || key > logMaxKey || value > uint64(len(data)) || uint64(at)+key+value+crc32.Size > uint64(len(data)) {
		return 0, 0
	}
	end := at + int(key) + int(value)
	if crc32.Checksum(data[:end], castagnoli) != binary.BigEndian.Uint32(data[end:]) {
		return 0, 0
	}
	return data[0], end + crc32.Size
}
