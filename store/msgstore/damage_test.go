package msgstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// filled is a store with some of everything in it.
func filled(t testing.TB) *fakeKV {
	kv := newFakeKV()
	s := open(t, kv, Options{})
	let := kv.holdUp(s)
	m := msg(strings.Repeat("shared", 200))
	for id := range uint64(2) {
		m.Retain(1)
		s.Log(id).Submit([]store.Op{appendOp(1, "one"), {Kind: store.Append, Seq: 2, Msg: m}, appendOp(9, "nine")}, func(error) {})
	}
	m.Release()
	let()
	require.NoError(t, wait(s.Log(0), removeOp(1), store.Op{Kind: store.Delivered, Seq: 9, Deliveries: 4}))
	require.NoError(t, s.Close())
	return kv
}

func TestCheckCountsWhatIsThere(t *testing.T) {
	t.Parallel()
	kv := filled(t)
	kv.m[string(appendPackKey(nil, 5, 5, 0))] = []byte("orphan")
	kv.keys = nil
	r, err := Check(kv, func(err error) { t.Error(err) })
	require.NoError(t, err)
	require.Equal(t, Report{Definitions: 1, Queues: 2, Packs: 3, Messages: 5, Octets: 1200*2 + 3 + 4 + 4, Orphans: 1}, r)
}

func TestOpenRefusesWhatIsDamagedAndChangesNothing(t *testing.T) {
	t.Parallel()
	kv := filled(t)
	seen := map[string]int{}
	for _, key := range slices.Sorted(maps.Keys(kv.m)) {
		if key[0] == keyDefinition {
			continue
		}
		value := kv.m[key]
		broken := map[string]map[string][]byte{}
		for i := range value {
			m := maps.Clone(kv.m)
			m[key] = slices.Clone(value)
			m[key][i] ^= 0x41
			broken[fmt.Sprint("octet ", i)] = m
		}
		for _, n := range []int{0, 1, len(value) - 1} {
			m := maps.Clone(kv.m)
			m[key] = value[:n]
			broken[fmt.Sprint("cut to ", n)] = m
		}
		m := maps.Clone(kv.m)
		delete(m, key)
		// Without its index a pack is as if a crash had come before it, and without
		// its state as if nothing had happened to it.
		if key[0] != keyState && key[0] != keyIndex {
			broken["gone"] = m
		}
		for how, m := range broken {
			damaged := kv.reopen(m)
			damaged.before = func(int) error { return fmt.Errorf("key %x, %s: it was changed", key, how) }
			s, err := Open(damaged, Options{})
			if err == nil {
				require.Contains(t, "PS", key[:1], "%x %s", key, how)
				require.NotEqual(t, "gone", how)
				// Bodies are not read by Open: who loads them is told.
				_, err0 := tryLoad(s.Log(0), 0, 10)
				_, err1 := tryLoad(s.Log(1), 0, 10)
				wrong := err0 != nil || err1 != nil
				if key[0] == keyShared {
					require.True(t, err0 != nil && err1 != nil, how)
				} else if how != "gone" && !strings.HasPrefix(how, "octet") {
					require.True(t, wrong)
				}
				require.NoError(t, s.Close())
			} else if how != "gone" {
				require.ErrorContains(t, err, "damaged", "%x %s", key, how)
			}
			seen[key[:1]]++
			if key[0] == keyFormat {
				_, err := Check(damaged, func(error) {})
				require.Error(t, err)
				continue
			}
			problems := 0
			r, err := Check(damaged, func(error) { problems++ })
			require.NoError(t, err)
			require.Positive(t, problems+r.Orphans, "%x %s", key, how)
		}
	}
	require.Len(t, seen, 6)
}

func TestOpenRefusesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	kv := newFakeKV()
	kv.m["anything"] = nil
	_, err := Open(kv, Options{})
	require.ErrorContains(t, err, "not a store of Warren's")
	require.Len(t, kv.m, 1)

	kv = newFakeKV()
	v, start := beginRecord(nil, formatKind)
	kv.m[string(rune(keyFormat))] = endRecord(append(v, formatVersion+1, 1, 2, 3), start)
	_, err = Open(kv, Options{})
	require.ErrorContains(t, err, "use a newer Warren")
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	kv := filled(t)
	for key := range kv.m {
		if key[0] == keyShared || key[0] == keySharedInfo {
			delete(kv.m, key)
		}
	}
	kv.keys = nil
	_, err := Open(kv, Options{})
	require.ErrorContains(t, err, "shared pack is missing")
	require.ErrorContains(t, err, "warren store check")
}
