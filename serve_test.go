package warren_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/wire"
)

// stubborn is a listener whose first Accepts fail.
type stubborn struct {
	net.Listener
	errs []error
}

func (l *stubborn) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func TestAnAcceptErrorDoesNotEndAListener(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	addr := serve(t, b, &stubborn{Listener: listen(t), errs: []error{
		syscall.EMFILE, errors.New("anything else"), syscall.ECONNABORTED,
	}})
	channel(t, dial(t, addr))
}

// failing is a listener whose Accepts all fail.
type failing struct {
	net.Listener
	tried chan struct{}
}

func (l failing) Accept() (net.Conn, error) {
	select {
	case l.tried <- struct{}{}:
	default:
	}
	return nil, syscall.EMFILE
}

func TestAnEndDoesNotWaitForTheNextAccept(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	l := failing{listen(t), make(chan struct{})}
	serve(t, b, l)
	for range 8 { // by now the pauses are long
		await(t, l.tried)
	}
	require.NoError(t, b.Close())
}

func TestServeEndsWithItsListenerAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	b, other := start(t, warren.Options{})
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	conn := dial(t, l.Addr().String())
	require.NoError(t, l.Close())
	err := await(t, served)
	require.ErrorIs(t, err, net.ErrClosed)
	require.NotErrorIs(t, err, warren.ErrClosed)
	channel(t, conn)
	channel(t, dial(t, other))
}

func TestSeveralListenersLeadToOneBroker(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	one, two := serve(t, b, listen(t)), serve(t, b, listen(t))
	ch := channel(t, dial(t, one))
	require.NoError(t, ch.Confirm(false))
	q := declare(t, ch, "")
	publish(t, ch, "", q, "hello")
	got, ok, err := channel(t, dial(t, two)).Get(q, true)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "hello", string(got.Body))
}

func TestBrokersOfOneProcessNeverMeet(t *testing.T) {
	t.Parallel()
	a, addrA := start(t, warren.Options{})
	_, addrB := start(t, warren.Options{})
	declare(t, channel(t, dial(t, addrA)), "here")
	require.NoError(t, a.Auth().AddUser("ann", "secret"))

	conn := dial(t, addrB)
	_, err := channel(t, conn).QueueDeclarePassive("here", false, false, false, false, nil)
	requireCode(t, err, amqp.NotFound, "NOT_FOUND - no queue 'here' in vhost '/'")

	require.NoError(t, a.Close())
	channel(t, conn)
}

func TestListenAndServe(t *testing.T) {
	t.Parallel()
	taken := listen(t)
	defer taken.Close()
	b := newBroker(t, warren.Options{})
	err := b.ListenAndServe(taken.Addr().String())
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, "warren: listen on "+taken.Addr().String())

	addr := taken.Addr().String()
	require.NoError(t, taken.Close())
	served := make(chan error, 1)
	go func() { served <- b.ListenAndServe(addr) }()
	require.Eventually(t, func() bool { // there is no sign of a listener but that it takes connections
		conn, err := dialAs(addr, guest)
		return err == nil && conn.Close() == nil
	}, patience, 5*time.Millisecond)
	require.NoError(t, b.Close())
	require.ErrorIs(t, await(t, served), warren.ErrClosed)
}

// certificate makes a certificate for 127.0.0.1 and a pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLSByTheListener(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t)
	b := newBroker(t, warren.Options{})
	addr := serve(t, b, tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}}))
	conn, err := amqp.DialConfig("amqps://"+addr, amqp.Config{
		SASL:            []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}},
		TLSClientConfig: &tls.Config{RootCAs: pool},
	})
	require.NoError(t, err)
	defer conn.Close()
	ch := channel(t, conn)
	require.NoError(t, ch.Confirm(false))
	q := declare(t, ch, "")
	ds, err := ch.Consume(q, "", true, false, false, false, nil)
	require.NoError(t, err)
	for _, size := range []int{0, 1, 100_000, 1_000_000} {
		publish(t, ch, "", q, string(make([]byte, size)))
		require.Len(t, await(t, ds).Body, size)
	}

	// A client that does not speak TLS gets nowhere, and harms nobody.
	_, err = dialAs(addr, guest)
	require.Error(t, err)

	why := closed(conn)
	require.NoError(t, b.Shutdown(t.Context()))
	require.Equal(t, amqp.ConnectionForced, await(t, why).Code)
}

// elsewhere makes connections look as if they came from another machine.
type elsewhere struct {
	net.Listener
	peer net.Addr
}

func (l elsewhere) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return elsewhereConn{nc, l.peer}, nil
}

type elsewhereConn struct {
	net.Conn
	peer net.Addr
}

func (c elsewhereConn) RemoteAddr() net.Addr { return c.peer }

func TestGuestComesFromThisMachineOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		peer     string
		loopback []string
		allowed  bool
	}{
		{peer: "127.0.0.1", allowed: true},
		{peer: "127.8.9.10", allowed: true},
		{peer: "::1", allowed: true},
		{peer: "::ffff:127.0.0.1", allowed: true},
		{peer: "192.0.2.1"},
		{peer: "2001:db8::1"},
		{peer: "::ffff:192.0.2.1"},
		{peer: "192.0.2.1", loopback: []string{}, allowed: true},
		{peer: "192.0.2.1", loopback: []string{"somebody"}, allowed: true},
	} {
		t.Run(c.peer, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, warren.Options{LoopbackUsers: c.loopback})
			require.NoError(t, b.Auth().AddUser("ann", "secret"))
			addr := serve(t, b, elsewhere{listen(t), &net.TCPAddr{IP: net.ParseIP(c.peer), Port: 5000}})

			// Others may come from anywhere.
			raw := connectRaw(t, addr)
			raw.startOK(t, "ann", "secret")
			raw.expect(t, wire.ConnectionTuneID)

			raw = connectRaw(t, addr)
			raw.startOK(t, "guest", "guest")
			if c.allowed {
				raw.expect(t, wire.ConnectionTuneID)
				return
			}
			var refused wire.ConnectionClose
			require.NoError(t, refused.Decode(raw.expect(t, wire.ConnectionCloseID)))
			require.Equal(t, wire.ConnectionClose{
				ReplyCode: amqp.AccessRefused,
				ReplyText: "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
			}, refused)
		})
	}
}
