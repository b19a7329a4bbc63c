package warren

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/msgstore"
)

// How often the room on the disk is looked at: seldom while there is much, often
// when it gets short, as RabbitMQ does it (contract 07 §5).
const (
	minDiskInterval = 100 * time.Millisecond
	maxDiskInterval = 10 * time.Second
	// fastestFill is how many octets a second a disk is taken to fill up at the
	// most.
	fastestFill = 1 << 30
)

// openStore opens what Options.Store holds.
func (b *Broker) openStore() error {
	ms, err := msgstore.Open(b.opts.Store, msgstore.Options{OnError: b.storeFailed, OnNoSpace: b.outOfSpace})
	if err != nil {
		return fmt.Errorf("warren: %s: %w", b.storeName(), err)
	}
	b.ms, b.defs = ms, newDefinitions(ms)
	b.diskWakes = make(chan struct{}, 1)
	if err := b.restore(); err != nil {
		b.beginClosing()
		b.running.Wait() // for queues that recover
		return errors.Join(fmt.Errorf("warren: restore from %s: %w", b.storeName(), err), ms.Close())
	}
	b.lookAtDisk()
	b.start(b.watchDisk)
	return nil
}

// storeName names Options.Store in an error, with its directory if it tells.
func (b *Broker) storeName() string {
	if s, ok := b.opts.Store.(interface{ Dir() string }); ok {
		return fmt.Sprintf("Options.Store in %s", s.Dir())
	}
	return "Options.Store"
}

// closeStore makes durable what there is and closes the store, once.
func (b *Broker) closeStore() error {
	if b.ms == nil {
		return nil
	}
	b.storeClosed.Do(func() {
		// A queue that recovers has not taken yet what was published to it.
		for _, v := range b.vhostsNow() {
			v.queuesInfo()
		}
		b.storeErr = errors.Join(b.ms.Close(), b.opts.Store.Close())
		if b.storeErr != nil {
			b.storeErr = fmt.Errorf("warren: close the store: %w", b.storeErr)
		}
	})
	return b.storeErr
}

// Health tells whether the broker can keep what it is given: nil if all is well.
// An error that wraps store.ErrNoSpace ends by itself once there is room on the
// disk again; publishes that need the disk get a nack meanwhile. Any other error is
// final: what is in memory is still delivered, nothing is stored any more, and
// only a new broker on the store can find out what is on it. It may be called from
// any goroutine at any time.
func (b *Broker) Health() error {
	if b.ms == nil {
		return nil
	}
	if err := b.ms.Failed(); err != nil {
		return fmt.Errorf("warren: the store failed: %w", err)
	}
	if b.noSpace.Load() {
		return fmt.Errorf("warren: %w", store.ErrNoSpace)
	}
	return nil
}

// Backup writes everything durable in the broker to w, as it is at one moment,
// while the broker works on: definitions, users and messages. What was confirmed
// before the call is in it. store.Restore puts it into an empty store. A broker
// without a store has nothing to back up, which is an error.
func (b *Broker) Backup(w io.Writer) error {
	if b.ms == nil {
		return errors.New("warren: back up a broker without a store")
	}
	if err := b.ms.Sync(context.Background()); err != nil {
		return fmt.Errorf("warren: back up: %w", err)
	}
	if err := store.Backup(b.opts.Store, w); err != nil {
		return fmt.Errorf("warren: back up: %w", err)
	}
	return nil
}

// storeFailed is told the error after which the store keeps nothing any more. It is
// called by the store's goroutine.
func (b *Broker) storeFailed(err error) {
	b.opts.Logger.Error("the store failed; nothing is kept any more", slog.Any("error", err))
	if tell := b.opts.OnStoreError; tell != nil {
		go tell(err) // nobody waits for it, as it may close the broker
	}
}

// outOfSpace is told that there is no room for what is to be stored, and with nil
// that there is again. It is called by the store's goroutine.
func (b *Broker) outOfSpace(err error) {
	b.noSpace.Store(err != nil)
	if err != nil {
		b.opts.Logger.Error("the store has no space", slog.Any("error", err))
	}
	select {
	case b.diskWakes <- struct{}{}:
	default:
	}
}

// watchDisk keeps the disk's alarm until the broker closes.
func (b *Broker) watchDisk() {
	t := time.NewTimer(maxDiskInterval)
	defer t.Stop()
	for {
		t.Reset(b.lookAtDisk())
		select {
		case <-t.C:
		case <-b.diskWakes:
		case <-b.accepting:
			return
		}
	}
}

// lookAtDisk sets or clears the disk's alarm, without hysteresis, like RabbitMQ,
// and says when to look again.
func (b *Broker) lookAtDisk() time.Duration {
	space, err := b.opts.Store.Space()
	if err != nil {
		b.opts.Logger.Warn("the room on the disk is not known", slog.Any("error", err))
		return maxDiskInterval
	}
	bounded := space.Free != 0 || space.Reserve != 0
	limit := space.Reserve + b.opts.FreeDiskLimit
	short := bounded && space.Free < limit
	noSpace := b.noSpace.Load()
	switch alarm := short || noSpace; {
	case alarm && !b.diskShort:
		b.opts.Logger.Info(fmt.Sprintf("Free disk space is insufficient. Free bytes: %d. Limit: %d", space.Free, limit))
		b.SetAlarm(DiskAlarm)
		b.diskShort = true
	case !alarm && b.diskShort:
		b.opts.Logger.Info(fmt.Sprintf("Free disk space is sufficient. Free bytes: %d. Limit: %d", space.Free, limit))
		b.ClearAlarm(DiskAlarm)
		b.diskShort = false
	}
	if noSpace {
		// Also while it is short: what was removed gives room back. It tells
		// outOfSpace if there is room again.
		b.ms.Retry()
		return minDiskInterval
	}
	if !bounded {
		return maxDiskInterval
	}
	left := time.Duration(float64(max(space.Free-limit, 0)) / fastestFill * float64(time.Second))
	return min(max(left, minDiskInterval), maxDiskInterval)
}
