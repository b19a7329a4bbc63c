package reply

import "fmt"

// Party is one of those who can end a connection or a channel.
type Party uint8

const (
	// ByClient: the client said close, or the program closed its own channel.
	ByClient Party = iota + 1
	// ByBroker: the broker refused something, was told to close the connection, or
	// ended itself.
	ByBroker
	// ByNetwork: the client went without a word, or was not heard of any more.
	ByNetwork
)

// String is "client", "broker" or "network".
func (p Party) String() string {
	switch p {
	case ByClient:
		return "client"
	case ByBroker:
		return "broker"
	case ByNetwork:
		return "network"
	}
	return fmt.Sprintf("Party(%d)", uint8(p))
}

// Reason is why a connection or a channel ended. A channel that ends with its
// connection has the connection's reason.
type Reason struct {
	By Party
	// Code is the reply code of the close method, 0 where nobody sent one. A
	// client may choose any; most say 200.
	Code Code
	// Text is the reply text of the close method. Without one it says in the words
	// of RabbitMQ's log what happened, and is empty if there is nothing to say.
	Text string
	// Err is what the network said, such as io.EOF; it is nil for other parties.
	Err error
}

// String says the reason in one line, for example
// `broker: 404 "NOT_FOUND - no queue 'q' in vhost '/'"`.
func (r Reason) String() string {
	switch {
	case r.Code != 0:
		return fmt.Sprintf("%s: %d %q", r.By, uint16(r.Code), r.Text)
	case r.Text != "":
		return fmt.Sprintf("%s: %s", r.By, r.Text)
	}
	return r.By.String()
}

// Reason is e as the reason why the broker ended something.
func (e *Error) Reason() Reason { return Reason{By: ByBroker, Code: e.Code, Text: e.ReplyText()} }
