package warren

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/reply"
)

func TestWithoutAListenerEventsCostNothing(t *testing.T) {
	b, err := New(Options{})
	require.NoError(t, err)
	defer b.Close()
	w := watch{b, b.vhosts["/"]}
	ch := new(channel.Channel)
	u, _ := b.auth.User(auth.DefaultUser)
	n := testing.AllocsPerRun(100, func() {
		w.ChannelOpened(ch)
		w.ChannelClosed(ch, reply.Reason{By: reply.ByClient})
		w.ConsumerAdded(ch, channel.ConsumerInfo{Tag: "c"})
		w.ConsumerRemoved(ch, channel.ConsumerInfo{Tag: "c"})
		w.ExchangeDeclared(exchange.Spec{Name: "x"})
		w.ExchangeDeleted(exchange.Spec{Name: "x"})
		w.Bound(exchange.Binding{Source: "x"})
		w.Unbound(exchange.Binding{Source: "x"})
		b.authChanged(auth.Change{User: "u"})
		b.authenticated(u, "PLAIN", nil, nil)
	})
	require.Zero(t, n)
	require.Zero(t, b.events.seq)
}

// The names are those by which RabbitMQ's event exchange publishes (contract 04
// §6.9), and those of user limits, which it has for its own use.
func TestEventNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, e := range map[string]Event{
		"connection.created": ConnectionCreated{}, "connection.closed": ConnectionClosed{},
		"channel.created": ChannelCreated{}, "channel.closed": ChannelClosed{},
		"queue.created": QueueCreated{}, "queue.deleted": QueueDeleted{},
		"exchange.created": ExchangeCreated{}, "exchange.deleted": ExchangeDeleted{},
		"binding.created": BindingCreated{}, "binding.deleted": BindingDeleted{},
		"consumer.created": ConsumerCreated{}, "consumer.deleted": ConsumerDeleted{},
		"vhost.created": VHostCreated{}, "vhost.deleted": VHostDeleted{},
		"vhost.limits.set": VHostLimitSet{}, "vhost.limits.cleared": VHostLimitCleared{},
		"user.created": UserCreated{}, "user.deleted": UserDeleted{},
		"user.password.changed": UserPasswordChanged{}, "user.password.cleared": UserPasswordCleared{},
		"user.tags.set":   UserTagsSet{},
		"user.limits.set": UserLimitSet{}, "user.limits.cleared": UserLimitCleared{},
		"user.authentication.success": UserAuthenticationSuccess{},
		"user.authentication.failure": UserAuthenticationFailure{},
		"permission.created":          PermissionCreated{}, "permission.deleted": PermissionDeleted{},
		"topic.permission.created": TopicPermissionCreated{}, "topic.permission.deleted": TopicPermissionDeleted{},
		"policy.set": PolicySet{}, "policy.cleared": PolicyCleared{},
		"queue.policy.updated": QueuePolicyUpdated{}, "queue.policy.cleared": QueuePolicyCleared{},
		"alarm.set": AlarmSet{}, "alarm.cleared": AlarmCleared{},
	} {
		require.Equal(t, name, EventName(e))
		typ := reflect.TypeOf(e).Name()
		require.Empty(t, seen[typ])
		seen[typ] = name
	}
}

// What raises alarms tells of them as everything else does.
func TestEventsOfAlarms(t *testing.T) {
	t.Parallel()
	b, err := New(Options{})
	require.NoError(t, err)
	s := b.Events(t.Context(), 0)
	b.SetAlarm(MemoryAlarm)
	b.SetAlarm(MemoryAlarm) // it is set already
	b.ClearAlarm(MemoryAlarm)
	require.NoError(t, b.Close())
	var got []Event
	for _, e := range s.All() {
		got = append(got, e)
	}
	require.Equal(t, []Event{AlarmSet{MemoryAlarm}, AlarmCleared{MemoryAlarm}}, got)
}
