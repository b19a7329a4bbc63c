package warren

import (
	"context"
	"errors"
	"fmt"
)

// Publishing is one message of PublishBatch and where it goes.
type Publishing struct {
	Exchange, RoutingKey string
	Message
}

// PublishBatch publishes messages in their order and waits until all of them are
// confirmed. The error joins what is wrong with each message that was not, by its
// number in the batch, and wraps what PublishConfirmed would give for it. When a
// message cannot be handed over, because it is refused, cannot be sent or ctx
// ended, those after it are not published.
func (c *Channel) PublishBatch(ctx context.Context, batch []Publishing) error {
	waits := make([]*Confirmation, 0, len(batch))
	var errs []error
	for i := range batch {
		p := &batch[i]
		w, err := c.PublishAsync(ctx, p.Exchange, p.RoutingKey, p.Message, Mandatory())
		if err != nil {
			errs = append(errs, fmt.Errorf("message %d of %d: %w", i+1, len(batch), err))
			break
		}
		waits = append(waits, w)
	}
	for i, w := range waits {
		if err := w.Wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("message %d of %d: %w", i+1, len(batch), err))
		}
	}
	return errors.Join(errs...)
}
