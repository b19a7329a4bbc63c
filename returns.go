package warren

import (
	"context"
	"iter"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// Return is a message that was published with Mandatory, had no route, and came
// back. Its strings and its body are the receiver's to keep.
type Return struct {
	Exchange, RoutingKey string
	// Code is why: 312 NO_ROUTE.
	Code reply.Code
	Message
}

// Returns gives the messages that come back to a range loop, those that came
// before it began included. The loop ends when ctx or the channel does; the last
// thing it gets is then the reason. It may be left and begun again, and what it
// has not been given waits.
//
// Nothing waits for a loop to come: of the returns that nobody takes, the latest
// 1024 are kept, and no more than 1 MiB of their bodies but for the last; the end
// of the channel drops them. Of several loops at once each return goes to one.
func (c *Channel) Returns(ctx context.Context) iter.Seq2[Return, error] {
	return func(yield func(Return, error) bool) {
		// Another loop may sleep, and what this one leaves is for that one then.
		defer c.wakeReturns()
		for {
			if err := ctx.Err(); err != nil {
				yield(Return{}, err)
				return
			}
			if r, ok := c.m.TakeReturn(); ok {
				ret := newReturn(r.Code, r.Msg)
				r.Msg.Release()
				if !yield(ret, nil) {
					return
				}
				continue
			}
			select {
			case <-c.returned:
			case <-c.Done():
				yield(Return{}, c.Err())
				return
			case <-ctx.Done():
			}
		}
	}
}

// wakeReturns tells a loop over Returns to look again.
func (c *Channel) wakeReturns() {
	select {
	case c.returned <- struct{}{}:
	default: // it will look anyway
	}
}

func newReturn(code reply.Code, m *message.Message) Return {
	var bodies arena
	d := newDelivery(m, &bodies)
	return Return{
		Exchange: d.Exchange, RoutingKey: d.RoutingKey, Code: code,
		Message: Message{Properties: d.Properties(), Body: d.Body},
	}
}
