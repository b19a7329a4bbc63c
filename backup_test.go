package warren_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/memstore"
	"github.com/warrenmq/warren/store/storetest"
)

// openDisk opens a disk in memory.
func openDisk(t testing.TB, d *memstore.Disk) *memstore.Store {
	t.Helper()
	s, err := d.Open()
	require.NoError(t, err)
	return s
}

// nativeChannel opens a channel.
func nativeChannel(t testing.TB, b *warren.Broker) *warren.Channel {
	t.Helper()
	ch, err := b.Channel(t.Context())
	require.NoError(t, err)
	return ch
}

// drain takes and acknowledges all messages of a queue.
func drain(t testing.TB, ch *warren.Channel, queue string) (bodies []string) {
	t.Helper()
	for {
		d, ok, err := ch.Get(t.Context(), queue)
		require.NoError(t, err)
		if !ok {
			return bodies
		}
		bodies = append(bodies, string(d.Body))
		require.NoError(t, d.Ack())
	}
}

func TestABackupHasAllThatWasConfirmedBeforeIt(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{Store: memstore.New()})
	require.NoError(t, b.Auth().AddUser("ann", "secret"))
	ch := nativeChannel(t, b)
	_, err := ch.DeclareQueue(t.Context(), "q", warren.Durable())
	require.NoError(t, err)
	for i := range 50 {
		require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", persistent(fmt.Sprint(i))))
	}
	// Others go on meanwhile.
	stop, ended := make(chan struct{}), make(chan error, 1)
	more := nativeChannel(t, b)
	go func() {
		for i := 50; ; i++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if err := more.PublishConfirmed(t.Context(), "", "q", persistent(fmt.Sprint(i))); err != nil {
				ended <- err
				return
			}
		}
	}()
	for range 5 {
		var backup bytes.Buffer
		require.NoError(t, b.Backup(&backup))
		disk := memstore.NewDisk()
		s := openDisk(t, disk)
		require.NoError(t, store.Restore(s, bytes.NewReader(backup.Bytes())))
		report, err := warren.CheckStore(s, func(err error) { t.Error(err) })
		require.NoError(t, err)
		require.GreaterOrEqual(t, report.Messages, int64(50))
		require.ErrorIs(t, store.Restore(s, bytes.NewReader(backup.Bytes())), store.ErrNotEmpty)

		restored := newBroker(t, warren.Options{Store: s})
		_, ok := restored.Auth().User("ann")
		require.True(t, ok)
		got := drain(t, nativeChannel(t, restored), "q")
		require.Len(t, got, int(report.Messages))
		for i, body := range got {
			require.Equal(t, fmt.Sprint(i), body)
		}
	}
	close(stop)
	require.NoError(t, <-ended)
}

func TestABrokerInMemoryHasNothingToBackUp(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	var backup bytes.Buffer
	require.ErrorContains(t, b.Backup(&backup), "without a store")
	require.Zero(t, backup.Len())
}

func TestCheckStoreCountsAndTells(t *testing.T) {
	t.Parallel()
	none := func(err error) { t.Error(err) }
	disk := memstore.NewDisk()
	s := openDisk(t, disk)
	report, err := warren.CheckStore(s, none)
	require.NoError(t, err, "an empty store is sound")
	require.Zero(t, report)
	b := newBroker(t, warren.Options{Store: s})
	ch := nativeChannel(t, b)
	for _, q := range []string{"a", "b"} {
		_, err := ch.DeclareQueue(t.Context(), q, warren.Durable())
		require.NoError(t, err)
		require.NoError(t, ch.BindQueue(t.Context(), q, "amq.fanout", ""))
	}
	require.NoError(t, ch.PublishConfirmed(t.Context(), "amq.fanout", "", persistent("four")))
	require.NoError(t, b.Close())

	s = openDisk(t, disk)
	defer func() { require.NoError(t, s.Close()) }()
	report, err = warren.CheckStore(s, none)
	require.NoError(t, err)
	require.Positive(t, report.Packs)
	report.Packs = 0
	require.Equal(t, warren.StoreReport{VHosts: 1, Users: 1, Permissions: 1, Queues: 2, Bindings: 2, Messages: 2, Octets: 8}, report)

	var damage []store.Change
	require.NoError(t, s.Scan([]byte("D"), []byte("E"), true, func(key, _ []byte) error {
		damage = append(damage, store.Change{Key: bytes.Clone(key), Value: []byte{1, 'x'}})
		return nil
	}))
	require.NoError(t, s.Apply(damage))
	var told []error
	report, err = warren.CheckStore(s, func(err error) { told = append(told, err) })
	require.NoError(t, err)
	require.Equal(t, len(damage), report.Damaged)
	require.Len(t, told, len(damage))
	require.ErrorContains(t, told[0], "is damaged")

	require.NoError(t, s.Apply([]store.Change{{Key: []byte("F"), Delete: true}}))
	_, err = warren.CheckStore(s, none)
	require.ErrorContains(t, err, "not a store of Warren's")
}

// A disk that is full must become empty by what consumers acknowledge, and the broker
// must notice that there is room again when nothing else happens.
func TestAFullDiskIsDrainedByAcks(t *testing.T) {
	t.Parallel()
	disk := memstore.NewDisk()
	s := storetest.NewFaulty(openDisk(t, disk))
	b := newBroker(t, warren.Options{Store: s})
	ch := nativeChannel(t, b)
	_, err := ch.DeclareQueue(t.Context(), "q", warren.Durable())
	require.NoError(t, err)
	for i := range 30 {
		require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", persistent(fmt.Sprint(i))))
	}
	s.SetSpace(&store.Space{Free: 900, Reserve: 1000})
	var nack *warren.NackError
	require.ErrorAs(t, ch.PublishConfirmed(t.Context(), "", "q", persistent("no room")), &nack)
	require.ErrorIs(t, b.Health(), store.ErrNoSpace)
	require.Len(t, drain(t, nativeChannel(t, b), "q"), 30)
	require.Eventually(t, func() bool {
		left := openDisk(t, disk.Crash())
		report, err := warren.CheckStore(left, func(err error) { t.Error(err) })
		require.NoError(t, err)
		require.NoError(t, left.Close())
		return report.Messages == 0
	}, patience, 10*time.Millisecond, "acknowledgements do not reach the disk")
	require.Contains(t, b.Alarms(), warren.DiskAlarm)

	s.SetSpace(&store.Space{Free: 1 << 30, Reserve: 1000})
	require.NoError(t, ch.PublishConfirmed(t.Context(), "", "q", persistent("room")))
	require.NoError(t, b.Health())
	require.Equal(t, []string{"room"}, drain(t, ch, "q"))
}
