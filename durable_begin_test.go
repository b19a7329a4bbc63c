package warren_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
)

// imaging takes a picture of the disk before each Apply.
type imaging struct {
	store.Store
	disk   *memstore.Disk
	images []*memstore.Disk
}

func (s *imaging) Apply(changes []store.Change) error {
	s.images = append(s.images, s.disk.Crash())
	return s.Store.Apply(changes)
}

func TestABrokerThatCrashedWhileItBeganBeginsAgain(t *testing.T) {
	t.Parallel()
	disk := memstore.NewDisk()
	kv, err := disk.Open()
	require.NoError(t, err)
	s := &imaging{Store: kv, disk: disk}
	b, err := warren.New(warren.Options{Store: s})
	require.NoError(t, err)
	require.NoError(t, b.Close())
	for i, image := range append(s.images, disk) {
		kv, err := image.Open()
		require.NoError(t, err)
		b, err := warren.New(warren.Options{Store: kv})
		require.NoError(t, err)
		require.Equal(t, []string{"/"}, b.VHosts(), "image %d", i)
		p, ok := b.Auth().Permissions("guest", "/")
		require.True(t, ok, "image %d", i)
		require.Equal(t, ".*", p.Configure)
		require.NoError(t, b.Auth().DeleteUser("guest"))
		require.NoError(t, b.DeleteVHost("/"))
		require.NoError(t, b.Close())

		kv, err = image.Open()
		require.NoError(t, err)
		b, err = warren.New(warren.Options{Store: kv})
		require.NoError(t, err)
		require.Empty(t, b.VHosts(), "what was deleted stays deleted")
		require.Empty(t, b.Auth().Users())
		require.NoError(t, b.Close())
	}
}
