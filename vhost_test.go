package warren_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
)

// exclusive declares an exclusive queue.
func exclusive(t *testing.T, ch *amqp.Channel, name string) string {
	t.Helper()
	q, err := ch.QueueDeclare(name, false, false, true, false, nil)
	require.NoError(t, err)
	return q.Name
}

func TestAnExclusiveQueueBelongsToItsConnection(t *testing.T) {
	t.Parallel()
	_, addr := start(t, warren.Options{})
	owner, other := dial(t, addr), dial(t, addr)
	q := exclusive(t, channel(t, owner), "mine")
	declare := func(conn *amqp.Connection) error {
		_, err := channel(t, conn).QueueDeclarePassive(q, false, false, true, false, nil)
		return err
	}
	require.NoError(t, declare(owner), "another channel of it")
	requireCode(t, declare(other), amqp.ResourceLocked,
		"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.")
}

func TestExclusiveQueuesGoWithTheirConnection(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, conn *amqp.Connection, tcp *rawClient){
		"closed in order": func(t *testing.T, conn *amqp.Connection, _ *rawClient) {
			require.NoError(t, conn.Close())
		},
		"TCP connection lost": func(t *testing.T, _ *amqp.Connection, tcp *rawClient) {
			require.NoError(t, tcp.Conn.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr := start(t, warren.Options{})
			tcp := connectRaw(t, addr)
			require.NoError(t, tcp.SetReadDeadline(time.Time{}))
			conn, err := amqp.Open(tcp.Conn, amqp.Config{
				SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}}, Vhost: "/",
			})
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() }) // most of the time it is closed already
			ch := channel(t, conn)
			require.NoError(t, ch.Confirm(false))
			named, unnamed := exclusive(t, ch, "mine"), exclusive(t, ch, "")
			require.NoError(t, ch.QueueBind(named, "", "amq.fanout", false, nil))
			publish(t, ch, "amq.fanout", "", "x")
			staying := declare(t, ch, "ours")

			end(t, conn, tcp)

			other := dial(t, addr)
			gone := func(name string) bool {
				_, err := channel(t, other).QueueDeclarePassive(name, false, false, false, false, nil)
				return err != nil && err.(*amqp.Error).Code == amqp.NotFound
			}
			if name == "closed in order" {
				require.True(t, gone(named) && gone(unnamed), "when close-ok comes they are gone")
			}
			// Of a lost TCP connection the broker hears when it does.
			require.Eventually(t, func() bool { return gone(named) && gone(unnamed) }, patience, 5*time.Millisecond)
			require.False(t, gone(staying))

			exclusive(t, channel(t, other), "mine") // the name is free, and its binding gone
			ch = channel(t, other)
			require.NoError(t, ch.Confirm(false))
			publish(t, ch, "amq.fanout", "", "x")
			_, ok, err := ch.Get("mine", true)
			require.NoError(t, err)
			require.False(t, ok)
		})
	}
}

// Queues of one name, declared and deleted by many at once, and their bindings:
// every declare is answered, and in the end nothing is left.
func TestDeclaresAndDeletesOfOneNameAtOnce(t *testing.T) {
	t.Parallel()
	_, addr := start(t, warren.Options{})
	var all sync.WaitGroup
	for i := range 8 {
		conn := dial(t, addr)
		all.Go(func() {
			ch, err := conn.Channel()
			for n := 0; err == nil && n < 100; n++ {
				if (n+i)%2 == 0 {
					_, err = ch.QueueDeclare("q", false, false, false, false, nil)
				} else {
					_, err = ch.QueueDelete("q", false, false, false)
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ch := channel(t, dial(t, addr))
	_, err := ch.QueueDelete("q", false, false, false)
	require.NoError(t, err)
	_, err = ch.QueueDeclarePassive("q", false, false, false, false, nil)
	requireCode(t, err, amqp.NotFound, "NOT_FOUND - no queue 'q' in vhost '/'")
}

func TestARouteIsForgottenWithItsQueue(t *testing.T) {
	t.Parallel()
	_, addr := start(t, warren.Options{})
	conn := dial(t, addr)
	pub, ch := channel(t, conn), channel(t, conn)
	require.NoError(t, pub.Confirm(false))
	for i := range 5 {
		q := declare(t, ch, "q")
		for n := range 3 {
			publish(t, pub, "", q, fmt.Sprint(i, n))
		}
		n, err := ch.QueueDelete(q, false, false, false)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		publish(t, pub, "", q, "nowhere") // confirmed all the same
	}
}
