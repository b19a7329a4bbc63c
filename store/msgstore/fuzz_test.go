package msgstore

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
)

// sum makes the checksum of a record right, so that fuzzing gets past it.
func sum(value []byte) []byte {
	if len(value) >= recordHeader {
		binary.LittleEndian.PutUint32(value[1:], crc32.Checksum(value[recordHeader:], castagnoli))
	}
	return value
}

func FuzzEntry(f *testing.F) {
	for key, v := range filled(f).m {
		if key[0] == keyIndex {
			f.Add(v)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := readEntry(sum(in))
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
			return
		}
		newPack(1, e, make([]*sharedPack, len(e.shared)))
		_, value := appendEntry(nil, e)
		again, err := readEntry(value)
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

func FuzzState(f *testing.F) {
	for key, v := range filled(f).m {
		if key[0] == keyState {
			f.Add(v)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := readState(sum(in))
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
			return
		}
		_, value := appendState(nil, s)
		_, err = readState(value)
		require.NoError(t, err)
	})
}

func FuzzInfo(f *testing.F) {
	_, v := appendInfo(nil, info{1, 2, 3})
	f.Add(v)
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := readInfo(sum(in)); err != nil {
			require.ErrorIs(t, err, errDamaged)
		}
		_, _ = readFormat(in)
		_, _, _, _ = parseEntryKey(in)
		_, _, _ = parseSharedKey(in)
	})
}

func FuzzBundle(f *testing.F) {
	for key, v := range filled(f).m {
		if key[0] == keyPack || key[0] == keyShared {
			f.Add(v)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) >= bundleHeader { // the checksums are right, as if by chance
			n := int(min(uint64(binary.LittleEndian.Uint32(in[5:])), uint64(len(in)-bundleHeader)/bundleRow))
			end := bundleHeader + n*bundleRow
			from := uint32(0)
			for i := range n {
				row := in[bundleHeader+i*bundleRow:]
				to := binary.LittleEndian.Uint32(row[4:])
				if from <= to && int(to) <= len(in)-end {
					binary.LittleEndian.PutUint32(row[8:], crc32.Checksum(in[end:][from:to], castagnoli))
				}
				from = to
			}
			binary.LittleEndian.PutUint32(in[1:], crc32.Checksum(in[5:end], castagnoli))
		}
		b, err := openBundle(in)
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
			return
		}
		var r reader
		for i := range b.len() {
			record, err := b.record(i)
			require.NoError(t, err)
			at, ok := b.find(b.slot(i), 0)
			require.True(t, ok && at == i)
			m, err := r.message(record)
			if err != nil {
				require.ErrorIs(t, err, errDamaged)
				continue
			}
			m.Release()
		}
	})
}
