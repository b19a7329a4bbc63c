package warren

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/warrenmq/warren/transport"
)

// Alarm names something that a broker is short of. Besides RabbitMQ's two a
// program may have alarms of its own: clients are told "low on" and the name.
type Alarm string

const (
	// MemoryAlarm is what Options.MemoryLimit sets.
	MemoryAlarm Alarm = "memory"
	// DiskAlarm is for a disk that fills up.
	DiskAlarm Alarm = "disk"
)

// SetAlarm says that the broker is short of something. Until no alarm is left,
// whoever publishes waits (contract 07 §3, §6): a connection over a socket or by
// Dial is no longer read from its next publish on, and told so by
// connection.blocked if it has the capability; a publish on a Channel, or on one of
// package amqp091, waits for its context. Nobody else is concerned, so that
// consumers can drain the broker, and nothing is lost.
//
// Watermarks such as Options.MemoryLimit set and clear their alarms by it, and so
// may a program or a test. An alarm that is set already stays as it is; who clears
// it does so for all who set it. Any goroutine may call it, at any time.
func (b *Broker) SetAlarm(a Alarm) {
	b.alarming.Lock()
	defer b.alarming.Unlock()
	if !b.alarms.Set(string(a)) {
		return
	}
	b.emit(func() Event { return AlarmSet{a} })
	for _, line := range []string{
		fmt.Sprintf("%s resource limit alarm set on node %s.", a, b.node()),
		"**********************************************************",
		"*** Publishers will be blocked until this alarm clears ***",
		"**********************************************************",
	} {
		b.opts.Logger.Warn(line)
	}
}

// ClearAlarm says that the broker has enough of something again. When that was the
// last alarm, publishers go on where they stopped. An alarm that is not set is
// fine.
func (b *Broker) ClearAlarm(a Alarm) {
	b.alarming.Lock()
	defer b.alarming.Unlock()
	if !b.alarms.Clear(string(a)) {
		return
	}
	b.emit(func() Event { return AlarmCleared{a} })
	b.opts.Logger.Warn(fmt.Sprintf("%s resource limit alarm cleared on node %s", a, b.node()))
	b.opts.Logger.Warn(fmt.Sprintf("%s resource limit alarm cleared across the cluster", a))
}

// Alarms gives the alarms that are set, in alphabetical order.
func (b *Broker) Alarms() []Alarm {
	var all []Alarm
	for _, s := range b.alarms.Sources() {
		all = append(all, Alarm(s))
	}
	return all
}

// node is the broker's name in RabbitMQ's log lines.
func (b *Broker) node() string {
	name, _ := b.connConfig.ServerProperties.Get("cluster_name")
	s, _ := name.(string)
	return s
}

// Blocking says that publishes on a Channel begin to wait for an alarm of the
// broker to be cleared, with the reason, or that they go on.
type Blocking = transport.Blocking

// Blocked gives to a range loop when publishes on the channel begin to wait for the
// broker's alarms, and when they go on. As with RabbitMQ's connection.blocked, that
// is once from the first alarm until none is left, and only if something is
// published meanwhile. A wait that is under way when the loop begins is its first.
// The loop ends when ctx or the channel does; the last thing it gets is then the
// reason. It may be left and begun again; what happens in between is not kept. Of
// several loops at once each gets everything.
func (c *Channel) Blocked(ctx context.Context) iter.Seq2[Blocking, error] {
	return c.conn.Blocked(ctx)
}

// watch sets an alarm while short says so, and clears it afterwards: without
// hysteresis, like RabbitMQ. It asks at once, and then at each interval until the
// broker closes. What short says beside goes to the log at each change.
func (b *Broker) watch(a Alarm, every time.Duration, short func() (bool, string)) {
	set := false
	look := func() {
		now, why := short()
		if now == set {
			return
		}
		set = now
		b.opts.Logger.Info(why)
		if now {
			b.SetAlarm(a)
		} else {
			b.ClearAlarm(a)
		}
	}
	look()
	b.start(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				look()
			case <-b.accepting:
				return
			}
		}
	})
}

// memoryInterval is RabbitMQ's memory_monitor_interval (contract 07 §5).
const memoryInterval = 2500 * time.Millisecond

// memoryShort says whether more than limit octets are used. Garbage that waits to
// be collected does not count.
func memoryShort(limit int64, used func() int64) func() (bool, string) {
	return func() (bool, string) {
		n := used()
		if n > limit {
			runtime.GC()
			n = used()
		}
		if n > limit {
			return true, fmt.Sprintf("vm_memory_high_watermark set. Memory used:%d allowed:%d", n, limit)
		}
		return false, fmt.Sprintf("vm_memory_high_watermark clear. Memory used:%d allowed:%d", n, limit)
	}
}

// heapInUse is what the program's objects take, in octets.
func heapInUse() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0 // a runtime that does not tell never is above a limit
	}
	return int64(s[0].Value.Uint64())
}
