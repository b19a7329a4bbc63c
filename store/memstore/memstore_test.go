package memstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
	"github.com/warrenmq/warren/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// medium shows a Disk to the suite.
type medium struct{ *memstore.Disk }

func (m medium) Open(t testing.TB) store.Store {
	s, err := m.Disk.Open()
	require.NoError(t, err)
	return s
}

func (m medium) Crash(testing.TB) storetest.Medium { return medium{m.Disk.Crash()} }

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(testing.TB) storetest.Medium { return medium{memstore.NewDisk()} })
}

func TestADiskIsOpenOnce(t *testing.T) {
	t.Parallel()
	d := memstore.NewDisk()
	s, err := d.Open()
	require.NoError(t, err)
	_, err = d.Open()
	require.ErrorIs(t, err, memstore.ErrInUse)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "a second Close does nothing")
	s, err = d.Open()
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestAClosedStoreSaysSo(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Apply(nil), memstore.ErrClosed)
	require.ErrorIs(t, s.Get(nil, nil), memstore.ErrClosed)
	require.ErrorIs(t, s.Scan(nil, nil, false, nil), memstore.ErrClosed)
}
