package exchange

import "github.com/warrenmq/warren/message"

// Subject is a message as routing sees it, together with the memory that
// routing needs. Make one for each goroutine that routes and Reset it for each
// message, and routing will not allocate. Its zero value is a message with no
// keys.
type Subject struct {
	keys    []string
	message *message.Message
	headers message.Table
	decoded bool

	sorted []message.Field // of the headers exchange; see sortedHeaders
	pair   []byte          // of the headers exchange: a key of its index
	topic  topicScratch
	seen   pointerSet[Exchange]
	queues pointerSet[Destination]
}

// Reset makes s stand for m with the given routing keys: the primary one, then
// those of the headers CC and BCC (contract 04 §8). m may be nil if nothing
// asks for more than keys. s keeps m until the next Reset; Reset(nil) lets it
// go.
func (s *Subject) Reset(m *message.Message, keys ...string) {
	s.keys = append(s.keys[:0], keys...)
	s.message = m
	s.headers, s.decoded = nil, false
	clear(s.sorted)
	s.sorted = s.sorted[:0]
}

// Keys are the routing keys. They must not be changed.
func (s *Subject) Keys() []string { return s.keys }

// Message is the message, nil if Reset was given none.
func (s *Subject) Message() *message.Message { return s.message }

// SetHeaders gives the headers to one who has decoded them already. Call it
// after Reset and before routing.
func (s *Subject) SetHeaders(t message.Table) { s.headers, s.decoded = t, true }

// Headers are the message's headers, decoded the first time they are asked
// for. They must not be changed. A message whose properties cannot be decoded
// counts as one without headers; a channel refuses such a message before it is
// routed (contract 03 §6, check 7).
func (s *Subject) Headers() message.Table {
	if s.decoded || s.message == nil {
		return s.headers
	}
	s.decoded = true
	var scan message.PropertyScan
	if err := message.ScanProperties(s.message.Props(), &scan); err != nil {
		return nil
	}
	// The scan has found the table in order.
	s.headers, _ = message.DecodeTable(scan.Headers)
	return s.headers
}
