package connection

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/message"
)

// Info is what can be seen of a connection from outside: the items of RabbitMQ's
// info call (contract 08 §7.1).
type Info struct {
	// Name is "peer:port -> host:port", ClientName what the client calls itself.
	Name, ClientName string
	// State is RabbitMQ's name of where the connection is in its life; see
	// StateBlocking and StateBlocked for an open one during an alarm.
	State                  string
	User, VHost, Mechanism string
	LocalAddr, PeerAddr    net.Addr
	ConnectedAt            time.Time
	// ChannelMax, FrameMax (octets) and Heartbeat (seconds) are what was
	// negotiated.
	ChannelMax       uint16
	FrameMax         uint32
	Heartbeat        uint16
	ClientProperties message.Table
	// Received and Sent count octets.
	Received, Sent uint64
	// Channels are the open channels, by number.
	Channels []ChannelInfo
}

// ChannelInfo is what can be seen of one channel of a connection.
type ChannelInfo struct {
	// Number is the client's. Within the program it is how many channels the
	// connection had opened.
	Number uint64
	channel.Info
}

// view is what other goroutines may see of a connection.
type view struct {
	mu   sync.Mutex
	info Info
	open map[uint16]*channel.Channel
}

// show changes what others see.
func (v *view) show(f func(*Info)) {
	v.mu.Lock()
	f(&v.info)
	v.mu.Unlock()
}

// enter moves the connection to a state.
func (c *Conn) enter(s state) {
	c.state = s
	c.view.show(func(i *Info) { i.State = s.String() })
}

// opened and closed keep the list of open channels.

func (v *view) opened(number uint16, ch *channel.Channel) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open == nil {
		v.open = map[uint16]*channel.Channel{}
	}
	v.open[number] = ch
}

func (v *view) closed(number uint16) {
	v.mu.Lock()
	delete(v.open, number)
	v.mu.Unlock()
}

// Channels gives the number of open channels. Any goroutine may call it.
func (c *Conn) Channels() int {
	c.view.mu.Lock()
	defer c.view.mu.Unlock()
	return len(c.view.open)
}

// Info gives what can be seen of the connection now. Any goroutine may call it.
func (c *Conn) Info() Info {
	c.view.mu.Lock()
	i := c.view.info
	open := maps.Clone(c.view.open)
	c.view.mu.Unlock()
	i.Received, i.Sent = c.received.Load(), c.sent.Load()
	if i.State == stateRunning.String() && c.Alarms.Any() {
		i.State = StateBlocking
	}
	for number, ch := range open {
		i.Channels = append(i.Channels, ChannelInfo{uint64(number), ch.Info()})
	}
	slices.SortFunc(i.Channels, func(a, b ChannelInfo) int { return cmp.Compare(a.Number, b.Number) })
	return i
}
