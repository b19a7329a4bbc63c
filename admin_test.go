package warren_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren"
	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/wire"
)

// addUser adds a user with the password "secret" and all rights in a virtual
// host.
func addUser(t *testing.T, b *warren.Broker, name, vhost string) account {
	t.Helper()
	require.NoError(t, b.Auth().AddUser(name, "secret"))
	permit(t, b, name, vhost, ".*", ".*", ".*")
	return account{name, "secret", vhost}
}

func permit(t *testing.T, b *warren.Broker, user, vhost, configure, write, read string) {
	t.Helper()
	require.NoError(t, b.Auth().SetPermissions(warren.Permission{
		User: user, VHost: vhost, Configure: configure, Write: write, Read: read,
	}))
}

func TestUsersNeedTheirPasswordAndARightToTheVirtualHost(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	require.NoError(t, b.AddVHost("other"))
	ann := addUser(t, b, "ann", "other")

	channel(t, mustDial(t, addr, ann))
	_, err := dialAs(addr, account{"ann", "secret", "/"})
	requireCode(t, err, amqp.NotAllowed, "NOT_ALLOWED - access to vhost '/' refused for user 'ann'")
	_, err = dialAs(addr, account{"ann", "secret", "nowhere"})
	requireCode(t, err, amqp.NotAllowed, "NOT_ALLOWED - vhost nowhere not found")

	require.NoError(t, b.Auth().ChangePassword("ann", "changed"))
	channel(t, mustDial(t, addr, account{"ann", "changed", "other"}))
	_, err = dialAs(addr, ann)
	require.ErrorIs(t, err, amqp.ErrCredentials)
}

func TestOpenConnectionsObeyChangedPermissionsAtOnce(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	conn := mustDial(t, addr, addUser(t, b, "ann", "/"))
	ch := channel(t, conn)
	q := declare(t, ch, "jobs")
	require.NoError(t, ch.Confirm(false))
	publish(t, ch, "", q, "remembered as allowed")

	// refused gives why the broker closes a channel on which f is done.
	refused := func(f func(*amqp.Channel) error) error {
		ch := channel(t, conn)
		why := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := f(ch); err != nil {
			return err
		}
		return await(t, why)
	}
	publishOn := func(ch *amqp.Channel) error {
		return ch.PublishWithContext(t.Context(), "", q, false, false, amqp.Publishing{})
	}

	permit(t, b, "ann", "/", "jobs", "", "jobs")
	const noWrite = "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'ann'"
	why := ch.NotifyClose(make(chan *amqp.Error, 1))
	require.NoError(t, publishOn(ch))
	requireCode(t, await(t, why), amqp.AccessRefused, noWrite)
	requireCode(t, refused(publishOn), amqp.AccessRefused, noWrite)

	permit(t, b, "ann", "/", "", ".*", "")
	requireCode(t, refused(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(q, false, false, false, false, nil)
		return err
	}), amqp.AccessRefused, "ACCESS_REFUSED - access to queue 'jobs' in vhost '/' refused for user 'ann'")
	requireCode(t, refused(func(ch *amqp.Channel) error {
		_, err := ch.Consume(q, "", true, false, false, false, nil)
		return err
	}), amqp.AccessRefused, "ACCESS_REFUSED - access to queue 'jobs' in vhost '/' refused for user 'ann'")

	cleared(t, true)(b.Auth().ClearPermissions("ann", "/"))
	requireCode(t, refused(publishOn), amqp.AccessRefused, noWrite)

	permit(t, b, "ann", "/", ".*", ".*", ".*")
	ch = channel(t, conn)
	require.NoError(t, ch.Confirm(false))
	publish(t, ch, "", q, "allowed again")
}

func TestTopicPermissionsAreObeyedAtOnce(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	ch := channel(t, mustDial(t, addr, addUser(t, b, "ann", "/")))
	require.NoError(t, ch.Confirm(false))
	publish(t, ch, "amq.topic", "eu.de", "x")
	require.NoError(t, b.Auth().SetTopicPermissions(warren.TopicPermission{
		User: "ann", VHost: "/", Exchange: "amq.topic", Write: "^us\\.", Read: ".*",
	}))
	publish(t, ch, "amq.topic", "us.ny", "x")
	why := ch.NotifyClose(make(chan *amqp.Error, 1))
	require.NoError(t, ch.PublishWithContext(t.Context(), "amq.topic", "eu.de", false, false, amqp.Publishing{}))
	requireCode(t, await(t, why), amqp.AccessRefused,
		"ACCESS_REFUSED - access to topic 'eu.de' in exchange 'amq.topic' in vhost '/' refused for user 'ann'")
}

func TestDeletingAUserClosesTheUsersConnections(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	ann := addUser(t, b, "ann", "/")
	one, two := closed(mustDial(t, addr, ann)), closed(mustDial(t, addr, ann))
	other := dial(t, addr)
	require.NoError(t, b.Auth().DeleteUser("ann"))
	for _, why := range []<-chan *amqp.Error{one, two} {
		requireCode(t, await(t, why), amqp.ConnectionForced, "CONNECTION_FORCED - user 'ann' is deleted")
	}
	_, err := dialAs(addr, ann)
	require.ErrorIs(t, err, amqp.ErrCredentials)
	channel(t, other)
	require.ErrorIs(t, b.Auth().DeleteUser("ann"), auth.ErrNoUser)
}

func TestCloseConnections(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	ann := addUser(t, b, "ann", "/")
	require.Zero(t, b.CloseConnections("ann", "no reason"))
	one, two := closed(mustDial(t, addr, ann)), closed(mustDial(t, addr, ann))
	other := dial(t, addr)
	require.Equal(t, 2, b.CloseConnections("ann", "100% moved"))
	for _, why := range []<-chan *amqp.Error{one, two} {
		requireCode(t, await(t, why), amqp.ConnectionForced, "CONNECTION_FORCED - 100% moved")
	}
	channel(t, other)
	channel(t, mustDial(t, addr, ann))
}

// Those over a socket or a pipe have still to answer; those within the program have
// nobody to wait for.
func TestCloseConnectionsWaitsForThoseWithinTheProgramOnly(t *testing.T) {
	t.Parallel()
	b := newBroker(t, warren.Options{})
	ann := addUser(t, b, "ann", "/")
	ch := native(t, b, warren.User("ann"))
	_, err := ch.DeclareQueue(t.Context(), "hers", warren.Exclusive())
	require.NoError(t, err)
	nc, err := b.Dial("", "")
	require.NoError(t, err)
	dumb := &rawClient{Conn: nc, buf: make([]byte, 4<<10)}
	dumb.login(t, ann.user, ann.password) // and then it answers nothing

	require.Equal(t, 2, b.CloseConnections("ann", "maintenance"))
	select {
	case <-ch.Done():
	default:
		require.Fail(t, "the channel has not ended")
	}
	require.ErrorIs(t, ch.Err(), warren.ConnectionForced)
	queues, err := b.Queues("/")
	require.NoError(t, err)
	require.Empty(t, queues)
	dumb.expect(t, wire.ConnectionCloseID)
	require.NoError(t, nc.Close())

	nobodys := native(t, b)
	require.Equal(t, 1, b.CloseConnections("", "of nobody"))
	require.ErrorIs(t, nobodys.Err(), warren.ConnectionForced)
}

func TestVirtualHostsComeAndGo(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	require.NoError(t, b.AddVHost("v"))
	require.ErrorIs(t, b.AddVHost("v"), warren.ErrVHostExists)
	require.Equal(t, []string{"/", "v"}, b.VHosts())
	in := account{"guest", "guest", "v"}
	permit(t, b, "guest", "v", ".*", ".*", ".*")

	conn := mustDial(t, addr, in)
	ch := channel(t, conn)
	require.NoError(t, ch.Confirm(false))
	declare(t, ch, "jobs")
	require.NoError(t, ch.ExchangeDeclare("own", "fanout", true, false, false, false, nil))
	publish(t, ch, "", "jobs", "x")
	ds, err := ch.Consume("jobs", "", false, false, false, false, nil)
	require.NoError(t, err)
	await(t, ds) // not acknowledged
	why := closed(conn)
	elsewhere := dial(t, addr)

	require.NoError(t, b.DeleteVHost("v"))
	requireCode(t, await(t, why), amqp.ConnectionForced, "CONNECTION_FORCED - vhost 'v' is deleted")
	require.ErrorIs(t, b.DeleteVHost("v"), warren.ErrNoVHost)
	require.Equal(t, []string{"/"}, b.VHosts())
	_, err = dialAs(addr, in)
	requireCode(t, err, amqp.NotAllowed, "NOT_ALLOWED - vhost v not found")
	channel(t, elsewhere)

	// One of the same name is another one: empty, and nobody has rights in it.
	require.NoError(t, b.AddVHost("v"))
	_, err = dialAs(addr, in)
	requireCode(t, err, amqp.NotAllowed, "NOT_ALLOWED - access to vhost 'v' refused for user 'guest'")
	permit(t, b, "guest", "v", ".*", ".*", ".*")
	conn = mustDial(t, addr, in)
	_, err = channel(t, conn).QueueDeclarePassive("jobs", false, false, false, false, nil)
	requireCode(t, err, amqp.NotFound, "NOT_FOUND - no queue 'jobs' in vhost 'v'")
	err = channel(t, conn).ExchangeDeclarePassive("own", "fanout", true, false, false, false, nil)
	requireCode(t, err, amqp.NotFound, "NOT_FOUND - no exchange 'own' in vhost 'v'")
}

func TestLimitsOfAVirtualHost(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	conn := dial(t, addr)
	ch := channel(t, conn)
	declare(t, ch, "one")

	require.NoError(t, b.SetVHostLimit("/", warren.VHostMaxQueues, 2))
	declare(t, ch, "two")
	declare(t, ch, "two") // is there already
	_, err := channel(t, conn).QueueDeclare("three", false, false, false, false, nil)
	requireCode(t, err, amqp.PreconditionFailed,
		"PRECONDITION_FAILED - cannot declare queue 'three': queue limit in vhost '/' (2) is reached")
	_, err = ch.QueueDelete("one", false, false, false)
	require.NoError(t, err)
	declare(t, ch, "three")
	require.NoError(t, b.SetVHostLimit("/", warren.VHostMaxQueues, -1))
	declare(t, ch, "four")

	require.NoError(t, b.SetVHostLimit("/", warren.VHostMaxConnections, 2))
	second := dial(t, addr)
	_, err = dialAs(addr, guest)
	requireCode(t, err, amqp.NotAllowed,
		"NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (2) is reached")
	require.NoError(t, second.Close())
	dial(t, addr)
	require.NoError(t, b.SetVHostLimit("/", warren.VHostMaxConnections, 0))
	_, err = dialAs(addr, guest)
	requireCode(t, err, amqp.NotAllowed,
		"NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (0) is reached")
	channel(t, conn) // what is there stays

	require.ErrorIs(t, b.SetVHostLimit("nowhere", warren.VHostMaxQueues, 1), warren.ErrNoVHost)
	require.EqualError(t, b.SetVHostLimit("/", "max-luck", 1), "set limit max-luck of vhost '/': no such limit")
}

func TestLimitsOfAUser(t *testing.T) {
	t.Parallel()
	b, addr := start(t, warren.Options{})
	ann := addUser(t, b, "ann", "/")
	require.NoError(t, b.Auth().SetLimit("ann", warren.UserMaxConnections, 1))
	require.NoError(t, b.Auth().SetLimit("ann", warren.UserMaxChannels, 2))
	conn := mustDial(t, addr, ann)
	_, err := dialAs(addr, ann)
	requireCode(t, err, amqp.NotAllowed,
		"NOT_ALLOWED - connection refused for user 'ann': user connection limit (1) is reached")
	dial(t, addr) // somebody else

	channel(t, conn)
	channel(t, conn)
	why := closed(conn)
	_, err = conn.Channel()
	require.Error(t, err)
	requireCode(t, await(t, why), amqp.NotAllowed,
		"NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum allowed user limit of (2)")
	require.NoError(t, b.Auth().ClearLimit("ann", warren.UserMaxChannels))
	conn = mustDial(t, addr, ann)
	for range 3 {
		channel(t, conn)
	}
	// The limit is for all connections of the user together.
	require.NoError(t, b.Auth().ClearLimit("ann", warren.UserMaxConnections))
	require.NoError(t, b.Auth().SetLimit("ann", warren.UserMaxChannels, 4))
	other := mustDial(t, addr, ann)
	channel(t, other)
	why = closed(other)
	_, err = other.Channel()
	require.Error(t, err)
	requireCode(t, await(t, why), amqp.NotAllowed,
		"NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum allowed user limit of (4)")
	channel(t, conn)
}
