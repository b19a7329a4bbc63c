package conformance

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeBroker answers the bytes of one connection by a function, and hangs up
// when it returns.
func fakeBroker(t *testing.T, serve func(net.Conn)) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return // the test has ended without a connection
		}
		serve(nc)
		if err := nc.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return Target{Addr: l.Addr().String(), User: "guest", Password: "guest", VHost: "/"}
}

// readFrom waits for the client's first bytes, so that nothing comes too early.
func readFrom(t *testing.T, nc net.Conn) {
	if _, err := bufio.NewReader(nc).ReadByte(); err != nil {
		t.Error(err)
	}
}

func parse(t *testing.T, script string) *Scenario {
	t.Helper()
	s, err := ParseScenario("area/name", []byte("@title x\n"+script))
	require.NoError(t, err)
	return s
}

func TestPlayRecordsWhatComes(t *testing.T) {
	t.Parallel()
	target := fakeBroker(t, func(nc net.Conn) {
		readFrom(t, nc)
		out := []byte("AMQP\x00\x00\x09\x01")
		tags := fields{"consumer-tag": "t", "delivery-tag": uint64(1)}
		deliver, err := encodeMethod(methodsByName["basic.deliver"], tags)
		if err != nil {
			t.Error(err)
		}
		header, err := encodeHeader(basicClass, 0, 4, nil)
		if err != nil {
			t.Error(err)
		}
		out = append(out, encodeFrame(frameMethod, 1, deliver, frameEnd)...)
		out = append(out, encodeFrame(frameHeader, 1, header, frameEnd)...)
		out = append(out, encodeFrame(frameBody, 1, []byte("bo"), frameEnd)...)
		out = append(out, encodeFrame(frameBody, 1, []byte("dy"), frameEnd)...)
		out = append(out, encodeFrame(frameBody, 2, nil, frameEnd)...)
		if _, err := nc.Write(out); err != nil {
			t.Error(err)
		}
	})
	r := &Runner{Target: target}
	got, err := r.Play(parse(t, "tcp c\nc raw AMQP\nc expect\nc expect\nc expect"))
	require.NoError(t, err)
	require.Equal(t, Transcript{
		"> tcp c",
		"> c raw AMQP",
		"> c expect",
		"< c PROTOCOL-HEADER 0-0-9-1",
		"> c expect",
		"< c.2 VIOLATION unexpected body",
		"> c expect",
		"< c EOF",
		`< c.1 basic.deliver consumer-tag=t delivery-tag=1 redelivered=false exchange="" routing-key="" REMARK:before-consume-ok LEFT-OVER`,
		`    content: {} "body" in 2 frames`,
	}, got)
}

func TestPlayEndsAtAStepThatWaitsInVain(t *testing.T) {
	t.Parallel()
	target := fakeBroker(t, func(nc net.Conn) {
		// The client hangs up first: there is nothing to do but wait for it.
		if _, err := io.Copy(io.Discard, nc); err != nil {
			t.Error(err)
		}
	})
	r := &Runner{Target: target, Timeout: 3 * time.Second}
	got, err := r.Play(parse(t, "connect c ch=1\nc.1 open"))
	require.NoError(t, err)
	require.True(t, got.TimedOut())
	require.Equal(t, Transcript{"> connect c ch=1", "< c TIMEOUT waiting for connection.start", "ABORTED"}, got)
}

func TestPlayRefusesWhatIsNoStep(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"c":                               "no verb",
		"c.1 open":                        `no connection "c"`,
		"sleep":                           "duration",
		"sleep soon":                      "duration",
		"repeat 2":                        "count",
		"repeat x sleep 1ms":              "x",
		"connect c frame-max=x":           "x",
		"connect c typo=1":                "typo",
		"tcp c\ntcp c":                    "exists",
		"tcp c\nc.x open":                 "channel",
		"tcp c\nc dance":                  "unknown verb",
		"tcp c\nc.1 queue.purge typo":     "typo",
		"tcp c\nc.1 publish body=\"\\q\"": "string",
		"tcp c\nc quiet for=x":            "x",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			target := fakeBroker(t, func(nc net.Conn) {
				// A client that hangs up with unread data is no failure here.
				_, _ = io.Copy(io.Discard, nc)
			})
			r := &Runner{Target: target, Timeout: time.Second}
			_, err := r.Play(parse(t, script))
			require.ErrorContains(t, err, want)
		})
	}
}

func TestSetupWithoutAnAdminIsUnsupported(t *testing.T) {
	t.Parallel()
	_, err := (&Runner{}).Play(parse(t, "setup vhost ~v"))
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestConfirmsAreShownAsWhatTheySettle(t *testing.T) {
	t.Parallel()
	p := newPlayer(Target{}, nil, time.Second, "p.")
	c := &conn{name: "c"}
	s := p.publishes(c, 1)
	s.sent()
	require.Empty(t, s.open, "outside confirm mode nothing is counted")
	s.confirm()
	s.sent()
	s.sent()
	s.sent()
	ack := func(tag uint64, multiple bool) *event {
		return &event{ch: 1, kind: eventMethod, method: methodsByName["basic.ack"], f: fields{"delivery-tag": tag, "multiple": multiple}}
	}
	p.record(c, ack(2, true), style{})
	p.record(c, ack(2, false), style{})
	p.record(c, ack(3, false), style{})
	require.Equal(t, Transcript{
		"< c.1 basic.ack settles=1-2",
		"< c.1 basic.ack delivery-tag=2 multiple=false",
		"< c.1 basic.ack settles=3",
	}, p.out)
}
