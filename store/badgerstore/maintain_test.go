package badgerstore_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

const mib = 1 << 20

// used gives what the directory occupies.
func used(t testing.TB, s store.Store) int64 {
	t.Helper()
	sp, err := s.Space()
	require.NoError(t, err)
	return sp.Used
}

func key(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

// Values that are deleted soon after must not pile up, neither while they come nor
// when it is quiet, and values that stay must.
func TestDeletedValuesGiveTheirRoomBack(t *testing.T) {
	t.Parallel()
	s, err := badgerstore.OpenPaced(t.TempDir(), badgerstore.Options{Unsafe: true}, 20*time.Millisecond, 48*mib, 10)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	value := make([]byte, mib)
	random := rand.NewChaCha8([32]byte{2})
	_, _ = random.Read(value)
	const old, keep = 20, 5
	total := usuallyOr(120, 1000)
	for i := range old {
		require.NoError(t, s.Apply([]store.Change{{Key: key(-1 - i), Value: value}}))
	}
	peak := int64(0)
	for i := range total {
		changes := []store.Change{{Key: key(i), Value: value}}
		if i >= keep {
			changes = append(changes, store.Change{Key: key(i - keep), Delete: true})
		}
		require.NoError(t, s.Apply(changes))
		peak = max(peak, used(t, s))
	}
	t.Logf("at most %d MiB while %d MiB were written", peak/mib, total)
	require.Eventually(t, func() bool { return used(t, s) < 110*mib }, time.Minute, 50*time.Millisecond,
		"%d MiB are occupied by %d MiB", used(t, s)/mib, old+keep)
	n := 0
	require.NoError(t, s.Scan(nil, nil, false, func(k, v []byte) error {
		n++
		require.Equal(t, value, v)
		return nil
	}))
	require.Equal(t, old+keep, n)
	report, err := s.Verify()
	require.NoError(t, err)
	require.EqualValues(t, n, report.Records)
}

// A deletion that is on its way down to its value while the file with that value is
// collected: badger by itself brings the value back.
func TestWhatIsDeletedStaysSoWhenItsFileIsCollected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := badgerstore.OpenPaced(dir, badgerstore.Options{Unsafe: true}, time.Hour, 1<<40, 1)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	value := make([]byte, mib)
	for i := range 100 { // in three files and some
		require.NoError(t, s.Apply([]store.Change{{Key: key(i), Value: value}}))
	}
	require.NoError(t, s.Flush(true))
	remove := func(from, to int) {
		for file := range 3 {
			for i := from; i < to; i++ {
				require.NoError(t, s.Apply([]store.Change{{Key: key(32*file + i), Delete: true}}))
			}
		}
	}
	remove(0, 20)
	require.NoError(t, s.Flush(true))
	remove(20, 30)
	require.NoError(t, s.Flush(false))
	files, err := s.Collect()
	require.NoError(t, err)
	require.Equal(t, 3, files)
	left := func() (all []int) {
		require.NoError(t, s.Scan(nil, nil, false, func(k, _ []byte) error {
			all = append(all, int(binary.BigEndian.Uint64(k)))
			return nil
		}))
		return all
	}
	want := []int{30, 31, 62, 63, 94, 95, 96, 97, 98, 99}
	require.Equal(t, want, left())
	for range 3 {
		require.NoError(t, s.Flush(true))
		require.Equal(t, want, left())
	}
}

// Rounds, readers and a writer at the same time: what is read is what is there.
func TestReadersDoNotNoticeTheMaintenance(t *testing.T) {
	t.Parallel()
	s, err := badgerstore.OpenPaced(t.TempDir(), badgerstore.Options{Unsafe: true}, time.Millisecond, 16*mib, 1)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	const keys = 100
	value := func(i int) []byte {
		v := make([]byte, 3000*(i%100))
		for at := 0; at+8 <= len(v); at += 8 {
			binary.BigEndian.PutUint64(v[at:], uint64(i))
		}
		return v
	}
	for i := range keys {
		require.NoError(t, s.Apply([]store.Change{{Key: key(i), Value: value(i)}}))
	}
	done := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			err := s.Get(key(i%keys), func(v []byte) error {
				if len(v) >= 8 {
					n := int(binary.BigEndian.Uint64(v))
					if want := 3000 * (n % 100); len(v) != want {
						return fmt.Errorf("value %d has %d octets, not %d", n, len(v), want)
					}
				}
				return nil
			})
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for i := keys; i < usuallyOr(400, 4000); i++ {
		require.NoError(t, s.Apply([]store.Change{{Key: key(i % keys), Value: value(i)}}))
	}
	close(done)
	require.NoError(t, <-failed)
}
