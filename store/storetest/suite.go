package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

// Medium is what a store writes to: it outlives the store that is open on it.
type Medium interface {
	// Open opens what is on the medium. The suite closes one store before it
	// opens the next, and closes what is open when a test ends.
	Open(t testing.TB) store.Store
}

// Crasher is a Medium that can say what a crash would leave.
type Crasher interface {
	Medium
	// Crash gives a medium with what would be found after the machine stopped
	// now. It is called while the medium is open and no Apply runs.
	Crash(t testing.TB) Medium
}

// Run tests an implementation. newMedium gives an empty medium for each test.
func Run(t *testing.T, newMedium func(t testing.TB) Medium) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"an empty store has nothing", testEmpty},
		{"a value is read back", testReadBack},
		{"the last of several changes to a key counts", testLastChangeCounts},
		{"deleting what is absent is nothing", testDeleteAbsent},
		{"the caller keeps its slices", testCallerKeepsSlices},
		{"keys are in order of their octets", testOrder},
		{"a scan has its bounds", testRanges},
		{"a scan of keys reads no values", testKeysOnly},
		{"an error ends a scan", testScanError},
		{"an error of use is returned", testUseError},
		{"values of any size", testSizes},
		{"what was applied is there after Close", testReopen},
		{"what was applied is there after a crash", testCrash},
		{"readers see whole batches", testReadersSeeWholeBatches},
		{"a scan sees one state", testScanIsSnapshot},
		{"Close waits for readers", testCloseWaits},
		{"the largest batch works and a larger one does not", testLimits},
		{"space is told", testSpace},
		{"it behaves like a map", testModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := &bench{t: t, medium: newMedium(t)}
			b.open()
			t.Cleanup(b.close)
			test.run(t, b)
		})
	}
}

// bench is a medium and the store that is open on it.
type bench struct {
	t      *testing.T
	medium Medium
	store.Store
}

func (b *bench) open() { b.Store = b.medium.Open(b.t) }

// close closes the store if it is open.
func (b *bench) close() {
	if b.Store != nil {
		require.NoError(b.t, b.Store.Close())
		b.Store = nil
	}
}

func (b *bench) reopen() {
	b.close()
	b.open()
}

// apply carries changes out and expects that to work.
func (b *bench) apply(changes ...store.Change) {
	b.t.Helper()
	require.NoError(b.t, b.Apply(changes))
}

// value gives what key has, and whether it has anything.
func (b *bench) value(key string) (string, bool) {
	b.t.Helper()
	var value string
	err := b.Get([]byte(key), func(v []byte) error {
		value = string(v)
		return nil
	})
	if err != nil {
		require.ErrorIs(b.t, err, store.ErrNotFound)
		return "", false
	}
	return value, true
}

// requireValue expects key to have value.
func (b *bench) requireValue(key, value string) {
	b.t.Helper()
	got, ok := b.value(key)
	require.True(b.t, ok, "no value for %q", key)
	require.Equal(b.t, value, got)
}

// requireAbsent expects key to have none.
func (b *bench) requireAbsent(key string) {
	b.t.Helper()
	_, ok := b.value(key)
	require.False(b.t, ok, "a value for %q", key)
}

// entry is one key with its value.
type entry struct{ key, value string }

// all gives the entries in a range. An empty to is no end.
func (b *bench) all(from, to string) []entry {
	b.t.Helper()
	var end []byte
	if to != "" {
		end = []byte(to)
	}
	var out []entry
	require.NoError(b.t, b.Scan([]byte(from), end, false, func(k, v []byte) error {
		out = append(out, entry{string(k), string(v)})
		return nil
	}))
	return out
}

// keys gives the keys in a range.
func (b *bench) keys(from, to string) []string {
	b.t.Helper()
	var out []string
	for _, e := range b.all(from, to) {
		out = append(out, e.key)
	}
	return out
}

func set(key, value string) store.Change {
	return store.Change{Key: []byte(key), Value: []byte(value)}
}

func del(key string) store.Change { return store.Change{Key: []byte(key), Delete: true} }
