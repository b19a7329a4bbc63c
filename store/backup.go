package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A backup is the text backupMagic, then records, then an end:
//
//	record: 1, length of key, length of value (varints), key, value, CRC-32C of these
//	end:    0, number of records (varint), CRC-32C of these
//
// It does not depend on the store it came from.
const (
	backupMagic  = "warren backup 1\n"
	backupEnd    = 0
	backupRecord = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	// ErrBadBackup is what Restore returns, wrapped, for something that is no
	// backup, or is cut off or damaged.
	ErrBadBackup = errors.New("store: not a whole backup")
	// ErrNotEmpty is what Restore returns for a store that has something in it.
	ErrNotEmpty = errors.New("store: a backup goes to an empty store only")
)

// Backup writes all that is in s to w, as it was at one moment; the store can be
// used meanwhile. The backup is not encrypted, whether s is or not.
func Backup(s Store, w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	if _, err := out.WriteString(backupMagic); err != nil {
		return err
	}
	var records uint64
	var head []byte
	err := s.Scan(nil, nil, false, func(key, value []byte) error {
		head = append(head[:0], backupRecord)
		head = binary.AppendUvarint(head, uint64(len(key)))
		head = binary.AppendUvarint(head, uint64(len(value)))
		records++
		return writeSummed(out, head, key, value)
	})
	if err != nil {
		return err
	}
	if err := writeSummed(out, binary.AppendUvarint([]byte{backupEnd}, records)); err != nil {
		return err
	}
	return out.Flush()
}

// writeSummed writes the parts and their checksum.
func writeSummed(w io.Writer, parts ...[]byte) error {
	sum := uint32(0)
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	_, err := w.Write(binary.BigEndian.AppendUint32(nil, sum))
	return err
}

// Restore writes a backup into an empty store. After an error the store has a part
// of it and is not to be used.
func Restore(s Store, r io.Reader) error {
	if err := s.Scan(nil, nil, true, func([]byte, []byte) error { return ErrNotEmpty }); err != nil {
		return err
	}
	in := &backupReader{in: bufio.NewReaderSize(r, 1<<16)}
	if err := in.magic(); err != nil {
		return err
	}
	limits := s.Limits()
	var batch []Change
	var size int64
	for {
		c, err := in.next(limits.MaxBytes)
		if errors.Is(err, io.EOF) {
			return s.Apply(batch)
		}
		if err != nil {
			return err
		}
		n := int64(len(c.Key) + len(c.Value))
		if size+n > limits.MaxBytes || len(batch) == limits.MaxChanges {
			if err := s.Apply(batch); err != nil {
				return err
			}
			batch, size = batch[:0], 0
		}
		batch, size = append(batch, c), size+n
	}
}

// backupReader reads what Backup wrote.
type backupReader struct {
	in      *bufio.Reader
	sum     uint32
	records uint64
}

func (b *backupReader) magic() error {
	head := make([]byte, len(backupMagic))
	if _, err := io.ReadFull(b.in, head); err != nil {
		return cutOff(err)
	}
	if string(head) != backupMagic {
		return fmt.Errorf("%w: it begins with %q", ErrBadBackup, head)
	}
	return nil
}

// next gives the next record, or io.EOF after the last one.
func (b *backupReader) next(maxBytes int64) (Change, error) {
	b.sum = 0
	kind, err := b.ReadByte()
	if err != nil {
		return Change{}, cutOff(err)
	}
	switch kind {
	case backupRecord:
		return b.record(maxBytes)
	case backupEnd:
		return Change{}, b.end()
	}
	return Change{}, fmt.Errorf("%w: record %d is of the unknown kind %d", ErrBadBackup, b.records, kind)
}

func (b *backupReader) record(maxBytes int64) (Change, error) {
	key, err := binary.ReadUvarint(b)
	if err != nil {
		return Change{}, cutOff(err)
	}
	value, err := binary.ReadUvarint(b)
	if err != nil {
		return Change{}, cutOff(err)
	}
	if limit := uint64(maxBytes); key > limit || value > limit-key {
		return Change{}, fmt.Errorf("%w: record %d has %d and %d octets; this store takes %d", ErrBadBackup, b.records, key, value, maxBytes)
	}
	// What the lengths promise is not believed until it has come.
	var both bytes.Buffer
	if _, err := io.CopyN(&both, b.in, int64(key+value)); err != nil {
		return Change{}, cutOff(err)
	}
	b.sum = crc32.Update(b.sum, castagnoli, both.Bytes())
	if err := b.checkSum(); err != nil {
		return Change{}, err
	}
	b.records++
	return Change{Key: both.Bytes()[:key:key], Value: both.Bytes()[key:]}, nil
}

// end checks the end, and gives io.EOF if all is well.
func (b *backupReader) end() error {
	records, err := binary.ReadUvarint(b)
	if err != nil {
		return cutOff(err)
	}
	if err := b.checkSum(); err != nil {
		return err
	}
	if records != b.records {
		return fmt.Errorf("%w: it has %d records and should have %d", ErrBadBackup, b.records, records)
	}
	return io.EOF
}

// ReadByte implements io.ByteReader and adds to the checksum.
func (b *backupReader) ReadByte() (byte, error) {
	c, err := b.in.ReadByte()
	if err == nil {
		b.sum = crc32.Update(b.sum, castagnoli, []byte{c})
	}
	return c, err
}

func (b *backupReader) checkSum() error {
	var sum [crc32.Size]byte
	if _, err := io.ReadFull(b.in, sum[:]); err != nil {
		return cutOff(err)
	}
	if binary.BigEndian.Uint32(sum[:]) != b.sum {
		return fmt.Errorf("%w: the checksum of record %d is wrong", ErrBadBackup, b.records)
	}
	return nil
}

// cutOff says that a backup ends early, without hiding what else it may be.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut off", ErrBadBackup)
	}
	return fmt.Errorf("store: read a backup: %w", err)
}
