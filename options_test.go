package warren_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/wire"
)

func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    warren.Options
		want string // of the error; empty for none
	}{
		{name: "none"},
		{name: "least", o: warren.Options{ChannelMax: 1, FrameMax: 4096, Heartbeat: time.Second, HandshakeTimeout: 1, MaxMessageSize: 1, MaxUnsent: 1}},
		{name: "most", o: warren.Options{ChannelMax: 65535, FrameMax: 1<<32 - 1, Heartbeat: 65535 * time.Second, MaxMessageSize: 512 << 20}},
		{name: "no heartbeat", o: warren.Options{Heartbeat: -1}},
		{name: "short frames", o: warren.Options{FrameMax: 4095}, want: "warren: Options.FrameMax is 4095, below AMQP's minimum of 4096"},
		{name: "long heartbeat", o: warren.Options{Heartbeat: 65536 * time.Second}, want: "warren: Options.Heartbeat is 18h12m16s, above AMQP's maximum of 65535s"},
		{name: "odd heartbeat", o: warren.Options{Heartbeat: 1500 * time.Millisecond}, want: "warren: Options.Heartbeat is 1.5s, not in whole seconds"},
		{name: "handshake", o: warren.Options{HandshakeTimeout: -1}, want: "warren: Options.HandshakeTimeout is -1ns, below 0"},
		{name: "message size below", o: warren.Options{MaxMessageSize: -1}, want: "warren: Options.MaxMessageSize is -1, not within 0 and 536870912"},
		{name: "message size above", o: warren.Options{MaxMessageSize: 512<<20 + 1}, want: "warren: Options.MaxMessageSize is 536870913, not within 0 and 536870912"},
		{name: "unsent", o: warren.Options{MaxUnsent: -1}, want: "warren: Options.MaxUnsent is -1, below 0"},
		{name: "memory limit", o: warren.Options{MemoryLimit: -1}, want: "warren: Options.MemoryLimit is -1, below 0"},
		{name: "exchange types", o: warren.Options{ExchangeTypes: []exchange.Type{nil}}, want: "warren: Options.ExchangeTypes: exchange: a nil type"},
		{name: "queue types", o: warren.Options{QueueTypes: []queue.Type{queue.Classic()}}, want: `warren: Options.QueueTypes: queue: type "classic" is registered twice`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, err := warren.New(c.o)
			if c.want != "" {
				require.EqualError(t, err, c.want)
				return
			}
			require.NoError(t, err)
			require.NoError(t, b.Close())
		})
	}
}

func TestClientsAreProposedWhatTheOptionsSay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    warren.Options
		want wire.ConnectionTune
	}{
		"the defaults are RabbitMQ's": {warren.Options{}, wire.ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60}},
		"own":                         {warren.Options{ChannelMax: 7, FrameMax: 8192, Heartbeat: 30 * time.Second}, wire.ConnectionTune{ChannelMax: 7, FrameMax: 8192, Heartbeat: 30}},
		"no heartbeat":                {warren.Options{Heartbeat: -1}, wire.ConnectionTune{ChannelMax: 2047, FrameMax: 131072}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr := start(t, c.o)
			raw := connectRaw(t, addr)
			raw.startOK(t, "guest", "guest")
			var got wire.ConnectionTune
			require.NoError(t, got.Decode(raw.expect(t, wire.ConnectionTuneID)))
			require.Equal(t, c.want, got)
		})
	}
}

func TestServerPropertiesNameOnlyWhatWorks(t *testing.T) {
	t.Parallel()
	_, addr := start(t, warren.Options{})
	p := dial(t, addr).Properties
	require.Equal(t, amqp.Table{
		"authentication_failure_close": true,
		"basic.nack":                   true,
		"connection.blocked":           true,
		"consumer_cancel_notify":       true,
		"consumer_priorities":          true,
		"direct_reply_to":              true,
		"exchange_exchange_bindings":   true,
		"per_consumer_qos":             true,
		"publisher_confirms":           true,
	}, p["capabilities"])
	require.Equal(t, "RabbitMQ", p["product"])
	require.Equal(t, "3.10.8", p["version"])
	require.Contains(t, p["platform"], "Warren")
	require.Contains(t, p["information"], "Warren")
	for _, name := range []string{"cluster_name", "copyright", "information", "platform"} {
		require.NotEmpty(t, p[name], name)
	}
}

func TestAMessageAboveTheLimitEndsItsChannel(t *testing.T) {
	t.Parallel()
	_, addr := start(t, warren.Options{MaxMessageSize: 1000})
	conn := dial(t, addr)
	ch := channel(t, conn)
	require.NoError(t, ch.Confirm(false))
	q := declare(t, ch, "")
	publish(t, ch, "", q, strings.Repeat("x", 1000))
	why := ch.NotifyClose(make(chan *amqp.Error, 1))
	require.NoError(t, ch.PublishWithContext(t.Context(), "", q, false, false, amqp.Publishing{Body: make([]byte, 1001)}))
	requireCode(t, await(t, why), amqp.PreconditionFailed,
		"PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000")
	channel(t, conn)
}

func TestAHandshakeMayNotTakeForEver(t *testing.T) {
	t.Parallel()
	_, addr := start(t, warren.Options{HandshakeTimeout: 50 * time.Millisecond})
	connectRaw(t, addr).expectEnd(t)
}

func TestWithoutTheDefaultUserNobodyIsThere(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{NoDefaultUser: true})
	require.Empty(t, b.Auth().Users())
	c := connectRaw(t, addr)
	c.startOK(t, "guest", "guest")
	_, err := c.next()
	require.NoError(t, err)
	c.expectEnd(t)
}

// journal is a buffer that many goroutines may write to.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func TestOrderlyWorkIsNothingToWarnOf(t *testing.T) {
	t.Parallel()
	var log journal
	b, addr := start(t, warren.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	conn := dial(t, addr)
	ch := channel(t, conn)
	publish(t, ch, "", declare(t, ch, ""), "x")
	require.NoError(t, conn.Close())
	why := closed(dial(t, addr))
	require.NoError(t, b.Shutdown(t.Context()))
	await(t, why)
	require.Contains(t, log.String(), "user 'guest' authenticated and granted access to vhost '/'")
	require.NotContains(t, log.String(), "level=WARN")
	require.NotContains(t, log.String(), "level=ERROR")
}
