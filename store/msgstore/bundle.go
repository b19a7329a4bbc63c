package msgstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/warrenmq/warren/message"
)

// A bundle is the value of a pack, own or shared:
//
//	kind 1, checksum of the count and the table (4), count (4)
//	table, per record: slot (4), end of the record (4), its checksum (4)
//	records: flags (1), priority (1), if flagged the hidden routing keys (uvarints:
//	their number; of each its length, then the key), lengths of exchange, routing
//	key and properties (uvarints), these three, body
//
// Numbers are little-endian. Slots ascend; ends count from the end of the table.
// Each record has a checksum of its own, so that reading one message does not
// cost reading the pack.

const (
	bundleKind     = 1
	bundleHeader   = 1 + 4 + 4
	bundleRow      = 4 + 4 + 4
	recordFixed    = 1 + 1
	flagPersistent = 1
	flagHidden     = 2
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errDamaged = errors.New("damaged")
)

func damaged(what string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(what, args...))
}

// recordSize is the most that a message takes in a bundle.
func recordSize(m *message.Message) int {
	size := bundleRow + recordFixed + 3*binary.MaxVarintLen32 +
		len(m.Exchange()) + len(m.RoutingKey()) + len(m.Props()) + m.Size()
	if hidden := m.HiddenKeys(); len(hidden) > 0 {
		size += binary.MaxVarintLen32
		for _, k := range hidden {
			size += binary.MaxVarintLen32 + len(k)
		}
	}
	return size
}

// bundleWriter writes a bundle of a known number of records to the end of buf.
type bundleWriter struct {
	buf              []byte
	start, row, data int
}

// newBundle starts a bundle for n records of together size octets, as
// recordSize counts them.
func newBundle(buf []byte, n, size int) bundleWriter {
	buf = slices.Grow(buf, bundleHeader+size)
	w := bundleWriter{start: len(buf), row: len(buf) + bundleHeader}
	w.data = w.row + n*bundleRow
	w.buf = buf[:w.data]
	w.buf[w.start] = bundleKind
	binary.LittleEndian.PutUint32(w.buf[w.start+5:], uint32(n))
	return w
}

func (w *bundleWriter) add(slot uint32, m *message.Message) {
	from := len(w.buf)
	var flags byte
	if m.Persistent() {
		flags |= flagPersistent
	}
	hidden := m.HiddenKeys()
	if len(hidden) > 0 {
		flags |= flagHidden
	}
	exchange, key, props := m.Exchange(), m.RoutingKey(), m.Props()
	b := append(w.buf, flags, m.Priority())
	if len(hidden) > 0 {
		b = binary.AppendUvarint(b, uint64(len(hidden)))
		for _, k := range hidden {
			b = append(binary.AppendUvarint(b, uint64(len(k))), k...)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(exchange)))
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(len(props)))
	b = append(b, exchange...)
	b = append(b, key...)
	b = append(b, props...)
	w.buf = append(b, m.Body()...)
	w.close(slot, from)
}

// copy takes over a record of another bundle as it is.
func (w *bundleWriter) copy(slot uint32, record []byte) {
	from := len(w.buf)
	w.buf = append(w.buf, record...)
	w.close(slot, from)
}

func (w *bundleWriter) close(slot uint32, from int) {
	row := w.buf[w.row:]
	binary.LittleEndian.PutUint32(row, slot)
	binary.LittleEndian.PutUint32(row[4:], uint32(len(w.buf)-w.data))
	binary.LittleEndian.PutUint32(row[8:], crc32.Checksum(w.buf[from:], castagnoli))
	w.row += bundleRow
}

// finish gives the buffer and the bundle within it.
func (w *bundleWriter) finish() (buf, value []byte) {
	sum := crc32.Checksum(w.buf[w.start+5:w.data], castagnoli)
	binary.LittleEndian.PutUint32(w.buf[w.start+1:], sum)
	return w.buf, w.buf[w.start:len(w.buf):len(w.buf)]
}

// bundle is a value whose table was found sound.
type bundle struct{ table, data []byte }

func openBundle(value []byte) (bundle, error) {
	if len(value) < bundleHeader || value[0] != bundleKind {
		return bundle{}, damaged("not a pack")
	}
	n := uint64(binary.LittleEndian.Uint32(value[5:]))
	end := bundleHeader + n*bundleRow
	if end > uint64(len(value)) {
		return bundle{}, damaged("a pack of %d octets cannot have %d messages", len(value), n)
	}
	if crc32.Checksum(value[5:end], castagnoli) != binary.LittleEndian.Uint32(value[1:]) {
		return bundle{}, damaged("the table of a pack has the wrong checksum")
	}
	b := bundle{table: value[bundleHeader:end], data: value[end:]}
	var last uint32
	for i := range b.len() {
		row := b.table[i*bundleRow:]
		to := binary.LittleEndian.Uint32(row[4:])
		if to < last || i > 0 && b.slot(i) <= b.slot(i-1) {
			return bundle{}, damaged("the table of a pack is out of order")
		}
		last = to
	}
	if int(last) != len(b.data) {
		return bundle{}, damaged("a pack holds %d octets of messages, not %d", len(b.data), last)
	}
	return b, nil
}

func (b bundle) len() int { return len(b.table) / bundleRow }

func (b bundle) slot(i int) uint32 { return binary.LittleEndian.Uint32(b.table[i*bundleRow:]) }

// find gives the place of a slot, which is at from or behind it.
func (b bundle) find(slot uint32, from int) (i int, ok bool) {
	lo, hi := from, b.len()
	if lo < hi && b.slot(lo) == slot {
		return lo, true
	}
	for lo < hi {
		mid := (lo + hi) / 2
		if b.slot(mid) < slot {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < b.len() && b.slot(lo) == slot
}

// record gives a record whose checksum is right.
func (b bundle) record(i int) ([]byte, error) {
	row := b.table[i*bundleRow:]
	from := uint32(0)
	if i > 0 {
		from = binary.LittleEndian.Uint32(b.table[(i-1)*bundleRow+4:])
	}
	r := b.data[from:binary.LittleEndian.Uint32(row[4:])]
	if crc32.Checksum(r, castagnoli) != binary.LittleEndian.Uint32(row[8:]) {
		return nil, damaged("message %d of a pack has the wrong checksum", b.slot(i))
	}
	return r, nil
}

// reader makes messages of records. It keeps the last names, since those of
// neighbours are mostly the same.
type reader struct{ exchange, key string }

func (d *reader) message(record []byte) (*message.Message, error) {
	if len(record) < recordFixed {
		return nil, damaged("a message is cut short")
	}
	flags, priority, rest := record[0], record[1], record[recordFixed:]
	if flags&^(flagPersistent|flagHidden) != 0 {
		return nil, damaged("a message has unknown flags %#x", flags)
	}
	var hidden []string
	if flags&flagHidden != 0 {
		var ok bool
		if hidden, rest, ok = readKeys(rest); !ok {
			return nil, damaged("a message is cut short")
		}
	}
	var lens [3]int
	sum := uint64(0)
	for i := range lens {
		n, width := binary.Uvarint(rest)
		if width <= 0 || n > uint64(len(rest)) {
			return nil, damaged("a message is cut short")
		}
		rest = rest[width:]
		lens[i] = int(n)
		sum += n
	}
	if sum > uint64(len(rest)) {
		return nil, damaged("a message is cut short")
	}
	exchange, rest := rest[:lens[0]], rest[lens[0]:]
	key, rest := rest[:lens[1]], rest[lens[1]:]
	props, body := rest[:lens[2]], rest[lens[2]:]
	if string(exchange) != d.exchange {
		d.exchange = string(exchange)
	}
	if string(key) != d.key {
		d.key = string(key)
	}
	m := message.New(d.exchange, d.key, props, len(body))
	m.AppendBody(body)
	m.SetAttributes(flags&flagPersistent != 0, priority)
	m.SetHiddenKeys(hidden)
	return m, nil
}

// readKeys splits the hidden routing keys off a record.
func readKeys(p []byte) (keys []string, rest []byte, ok bool) {
	number := func() (int, bool) {
		n, width := binary.Uvarint(p)
		if width <= 0 || n > uint64(len(p)-width) {
			return 0, false
		}
		p = p[width:]
		return int(n), true
	}
	n, ok := number() // a key takes an octet at the least
	for ; ok && n > 0; n-- {
		var size int
		if size, ok = number(); ok {
			keys = append(keys, string(p[:size]))
			p = p[size:]
		}
	}
	return keys, p, ok
}
