package msgstore

import "encoding/binary"

// The first octet of a key.
const (
	keyState      = 'A'
	keyDefinition = 'D'
	keyFormat     = 'F'
	keyIndex      = 'I'
	keyPack       = 'P'
	keyShared     = 'S'
	keySharedInfo = 'T'
)

const (
	entryKeyLen  = 1 + 8 + 8 // I and A
	packKeyLen   = entryKeyLen + 2
	infoKeyLen   = 1 + 8
	sharedKeyLen = infoKeyLen + 2
)

func appendEntryKey(b []byte, prefix byte, queue, id uint64) []byte {
	b = append(b, prefix)
	b = binary.BigEndian.AppendUint64(b, queue)
	return binary.BigEndian.AppendUint64(b, id)
}

func appendPackKey(b []byte, queue, id uint64, part int) []byte {
	return binary.BigEndian.AppendUint16(appendEntryKey(b, keyPack, queue, id), uint16(part))
}

func appendInfoKey(b []byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, keySharedInfo), id)
}

func appendSharedKey(b []byte, id uint64, part int) []byte {
	b = binary.BigEndian.AppendUint64(append(b, keyShared), id)
	return binary.BigEndian.AppendUint16(b, uint16(part))
}

// parseEntryKey takes an I, A or P key apart; ok says that its length is right.
func parseEntryKey(key []byte) (queue, id uint64, part int, ok bool) {
	switch {
	case len(key) == packKeyLen && key[0] == keyPack:
		part = int(binary.BigEndian.Uint16(key[entryKeyLen:]))
	case len(key) == entryKeyLen && key[0] != keyPack:
	default:
		return 0, 0, 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint64(key[9:]), part, true
}

// parseSharedKey takes an S or T key apart.
func parseSharedKey(key []byte) (id uint64, part int, ok bool) {
	switch {
	case len(key) == sharedKeyLen && key[0] == keyShared:
		part = int(binary.BigEndian.Uint16(key[infoKeyLen:]))
	case len(key) == infoKeyLen && key[0] == keySharedInfo:
	default:
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), part, true
}

// after is the first key behind all that begin with prefix.
func after(prefix byte) []byte { return []byte{prefix + 1} }
