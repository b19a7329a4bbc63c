package warren

import (
	"net"

	"github.com/warrenmq/warren/channel"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
	"github.com/warrenmq/warren/reply"
)

// Event is something that happened in a broker: one of the structs below, as a
// value. Their words are those of RabbitMQ's events (contract 04 §6.9).
//
// What comes to be comes before its end, and before a namesake that follows it;
// with a queue or an exchange its consumers and bindings go first, each with an
// event of its own, and with a connection its channels do.
type Event interface{ name() string }

// EventName is RabbitMQ's name for an event, for example "queue.created": the
// routing key with which RabbitMQ's event exchange publishes it.
func EventName(e Event) string { return e.name() }

// CloseReason is why a connection or a channel ended: By says who ended it.
type CloseReason = reply.Reason

// Who ends connections and channels.
const (
	ByClient  = reply.ByClient
	ByBroker  = reply.ByBroker
	ByNetwork = reply.ByNetwork
)

// Connections and channels. What the program opens itself, by Broker.Channel and
// Connect, are connections too.
type (
	// ConnectionCreated is a connection that has opened its virtual host.
	ConnectionCreated struct{ ConnectionInfo }
	// ConnectionClosed is a connection of which nothing is left in the broker. Over
	// a socket the close handshake may still be going on.
	ConnectionClosed struct {
		ID                uint64 // ConnectionInfo's
		Name, User, VHost string
		Reason            CloseReason
	}
	// ChannelCreated is a channel, on the connection with that ID. Numbers are
	// AMQP's; connections of the program count the channels they open.
	ChannelCreated struct {
		Connection, Number uint64
		User, VHost        string
	}
	// ChannelClosed is a channel that has ended. One that ends with its connection
	// has the connection's reason.
	ChannelClosed struct {
		Connection, Number uint64
		Reason             CloseReason
	}
)

// What is in a virtual host.
type (
	// QueueCreated is a queue that was declared.
	QueueCreated struct{ queue.Spec }
	// QueueDeleted is a queue that is gone: deleted, or by itself, as exclusive and
	// auto-delete ones do.
	QueueDeleted struct {
		VHost, Name string
		// Err is why the queue failed, if that is what ended it.
		Err error
	}
	// ExchangeCreated is an exchange that was declared, or came with a new virtual
	// host.
	ExchangeCreated struct{ exchange.Spec }
	// ExchangeDeleted is an exchange that is gone: deleted, or with its last
	// binding, or with the virtual host.
	ExchangeDeleted struct{ VHost, Name string }
	// BindingCreated is a new binding. Those that every queue has from the default
	// exchange are not told of.
	BindingCreated struct{ BindingInfo }
	// BindingDeleted is a binding that is gone, on its own or with one of its ends.
	BindingDeleted struct{ BindingInfo }
	// ConsumerCreated is a consumer that was added, by the channel with that
	// connection and number.
	ConsumerCreated struct {
		VHost               string
		Connection, Channel uint64
		channel.ConsumerInfo
	}
	// ConsumerDeleted is a consumer that is gone: cancelled, or with its queue, or
	// with its channel.
	ConsumerDeleted struct {
		VHost               string
		Connection, Channel uint64
		Queue, Tag          string
	}
)

// Virtual hosts.
type (
	// VHostCreated is a new virtual host. Its exchanges follow.
	VHostCreated struct{ VHost string }
	// VHostDeleted is a virtual host that was deleted with all that was in it. Its
	// connections are closed next.
	VHostDeleted struct{ VHost string }
	// VHostLimitSet is a limit that was set or changed.
	VHostLimitSet struct {
		VHost string
		Limit VHostLimit
		N     int
	}
	// VHostLimitCleared is a limit that was taken away.
	VHostLimitCleared struct {
		VHost string
		Limit VHostLimit
	}
)

// Policies (contract 08 §5).
type (
	// PolicySet is a policy of a user, or of an operator, that is new or another one.
	// The events of the queues for which it is come before it.
	PolicySet struct {
		VHost    string
		Operator bool
		Policy
	}
	// PolicyCleared is a policy that is gone, on its own or with the virtual host.
	PolicyCleared struct {
		VHost, Name string
		Operator    bool
	}
	// QueuePolicyUpdated is a queue that has another policy because one was set.
	QueuePolicyUpdated struct {
		VHost, Name, Type string
		PolicyInfo
	}
	// QueuePolicyCleared is a queue that has another policy, or none any more, because
	// one was cleared.
	QueuePolicyCleared struct {
		VHost, Name, Type string
		PolicyInfo
	}
)

// Users and their rights.
type (
	// UserCreated is a new user.
	UserCreated struct {
		User string
		Tags []string
	}
	// UserDeleted is a user who was deleted. Permissions were deleted before, with
	// events of their own; connections are closed next.
	UserDeleted struct{ User string }
	// UserPasswordChanged is a new password.
	UserPasswordChanged struct{ User string }
	// UserPasswordCleared is a user who cannot log in with a password any more.
	UserPasswordCleared struct{ User string }
	// UserTagsSet is tags that took the place of others.
	UserTagsSet struct {
		User string
		Tags []string
	}
	// UserLimitSet is a limit that was set or changed.
	UserLimitSet struct {
		User  string
		Limit UserLimit
		N     int
	}
	// UserLimitCleared is a limit that was taken away.
	UserLimitCleared struct {
		User  string
		Limit UserLimit
	}
	// UserAuthenticationSuccess is a client that showed who it is. It may still be
	// refused the virtual host.
	UserAuthenticationSuccess struct {
		User, Mechanism string
		Peer            net.Addr
	}
	// UserAuthenticationFailure is a client that did not. User is whom it claimed to
	// be, empty where that could not be read.
	UserAuthenticationFailure struct {
		User, Mechanism string
		Peer            net.Addr
		// Err says what the client is not told: an *auth.RefusedError,
		// *auth.MechanismError or *auth.ResponseError.
		Err error
	}
	// PermissionCreated is a permission that was set or changed.
	PermissionCreated struct{ Permission }
	// PermissionDeleted is a permission that was taken away, or went with the user
	// or the virtual host.
	PermissionDeleted struct{ User, VHost string }
	// TopicPermissionCreated is a topic permission that was set or changed.
	TopicPermissionCreated struct{ TopicPermission }
	// TopicPermissionDeleted is a topic permission that was taken away, or went with
	// the user or the virtual host.
	TopicPermissionDeleted struct{ User, VHost, Exchange string }
)

// Resource alarms (contract 07 §5).
type (
	// AlarmSet is an alarm: publishers are blocked until it is cleared.
	AlarmSet struct{ Source Alarm }
	// AlarmCleared is an alarm that is over. Publishers go on when no other is set.
	AlarmCleared struct{ Source Alarm }
)

func (ConnectionCreated) name() string         { return "connection.created" }
func (ConnectionClosed) name() string          { return "connection.closed" }
func (ChannelCreated) name() string            { return "channel.created" }
func (ChannelClosed) name() string             { return "channel.closed" }
func (QueueCreated) name() string              { return "queue.created" }
func (QueueDeleted) name() string              { return "queue.deleted" }
func (ExchangeCreated) name() string           { return "exchange.created" }
func (ExchangeDeleted) name() string           { return "exchange.deleted" }
func (BindingCreated) name() string            { return "binding.created" }
func (BindingDeleted) name() string            { return "binding.deleted" }
func (ConsumerCreated) name() string           { return "consumer.created" }
func (ConsumerDeleted) name() string           { return "consumer.deleted" }
func (VHostCreated) name() string              { return "vhost.created" }
func (VHostDeleted) name() string              { return "vhost.deleted" }
func (VHostLimitSet) name() string             { return "vhost.limits.set" }
func (VHostLimitCleared) name() string         { return "vhost.limits.cleared" }
func (PolicySet) name() string                 { return "policy.set" }
func (QueuePolicyUpdated) name() string        { return "queue.policy.updated" }
func (QueuePolicyCleared) name() string        { return "queue.policy.cleared" }
func (UserCreated) name() string               { return "user.created" }
func (UserDeleted) name() string               { return "user.deleted" }
func (UserPasswordChanged) name() string       { return "user.password.changed" }
func (UserPasswordCleared) name() string       { return "user.password.cleared" }
func (UserTagsSet) name() string               { return "user.tags.set" }
func (UserLimitSet) name() string              { return "user.limits.set" }
func (UserLimitCleared) name() string          { return "user.limits.cleared" }
func (UserAuthenticationSuccess) name() string { return "user.authentication.success" }
func (UserAuthenticationFailure) name() string { return "user.authentication.failure" }
func (PermissionCreated) name() string         { return "permission.created" }
func (PermissionDeleted) name() string         { return "permission.deleted" }
func (TopicPermissionCreated) name() string    { return "topic.permission.created" }
func (TopicPermissionDeleted) name() string    { return "topic.permission.deleted" }
func (AlarmSet) name() string                  { return "alarm.set" }
func (AlarmCleared) name() string              { return "alarm.cleared" }

func (e PolicyCleared) name() string {
	if e.Operator {
		return "operator.policy.cleared"
	}
	return "policy.cleared"
}
