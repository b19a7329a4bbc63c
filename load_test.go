package warren_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/wire"
)

// load is one publisher and one consumer of one queue, on a connection each.
type load struct {
	pub, sub  *rawClient
	manualAck bool
	confirmed bool

	one       []byte // the frames of one publish
	out, acks []byte // scratch
	tag       uint64 // of the last delivery
	answered  uint64 // the last confirm
}

func newLoad(t testing.TB, addr string, size int, manualAck, confirmed bool) *load {
	t.Helper()
	l := &load{
		pub: dialRaw(t, addr), sub: dialRaw(t, addr), manualAck: manualAck, confirmed: confirmed,
		one: publishFrames(t, "", "load", size),
	}
	l.sub.call(t, &wire.QueueDeclare{Queue: "load"}, wire.QueueDeclareOKID)
	if manualAck {
		l.sub.call(t, &wire.BasicQos{PrefetchCount: 1000}, wire.BasicQosOKID)
	}
	l.sub.call(t, &wire.BasicConsume{Queue: "load", NoAck: !manualAck}, wire.BasicConsumeOKID)
	if confirmed {
		l.pub.call(t, &wire.ConfirmSelect{}, wire.ConfirmSelectOKID)
	}
	return l
}

// publish sends n messages in one write.
func (l *load) publish(n int) error {
	for len(l.out) < n*len(l.one) {
		l.out = append(l.out, l.one...)
	}
	_, err := l.pub.Write(l.out[:n*len(l.one)])
	return err
}

// consume takes n deliveries and acknowledges each where that is asked for.
func (l *load) consume(n int) error {
	for range n {
		tag, _, err := l.sub.delivery()
		if err != nil {
			return err
		}
		l.tag = tag
		if !l.manualAck {
			continue
		}
		l.acks = wire.AppendAck(l.acks, 1, tag, false)
		if !l.sub.buffered() {
			if err := l.flushAcks(); err != nil {
				return err
			}
		}
	}
	return l.flushAcks()
}

func (l *load) flushAcks() error {
	if len(l.acks) == 0 {
		return nil
	}
	_, err := l.sub.Write(l.acks)
	l.acks = l.acks[:0]
	return err
}

// confirms reads confirms up to the publish of that number.
func (l *load) confirms(upTo uint64) error {
	for l.confirmed && l.answered < upTo {
		tag, multiple, err := l.pub.confirm()
		if err != nil {
			return err
		}
		// One queue and one publisher: confirms come in order.
		if multiple {
			l.answered = tag
		} else {
			l.answered++
		}
	}
	return nil
}

// modes are the ways to publish and consume that are measured.
var modes = []struct {
	name                 string
	manualAck, confirmed bool
}{
	{"auto-ack", false, false},
	{"manual-ack", true, false},
	{"confirms", false, true},
	{"confirms-manual-ack", true, true},
}

// The load checks itself, so that a benchmark does not measure a mistake.
func TestTheLoadOfBenchmarksIsWhatItSeems(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			b, addr := startForLoad(t)
			l := newLoad(t, addr, 1000, m.manualAck, m.confirmed)
			require.True(t, bytes.HasSuffix(l.one, []byte("xxx\xce")))
			for i := range uint64(3) {
				require.NoError(t, l.publish(50))
				require.NoError(t, l.consume(50))
				require.NoError(t, l.confirms(50*(i+1)))
				require.Equal(t, 50*(i+1), l.tag)
			}
			require.Equal(t, m.confirmed, l.answered == 150)
			l.sub.call(t, &wire.BasicRecover{Requeue: true}, wire.BasicRecoverOKID) // nothing comes back
			l.sub.send(t, 1, &wire.QueueDelete{Queue: "load", IfEmpty: true})
			l.sub.expect(t, wire.QueueDeleteOKID)
			require.NoError(t, b.Close())
		})
	}
}
