package queue

// Option changes a built-in queue type.
type Option func(*typeOptions)

type typeOptions struct {
	// limited says that a delivery limit was asked for, and deliveryLimit is that of
	// queues that have none of their own; 0 is none.
	limited       bool
	deliveryLimit int
}

func optionsOf(options []Option) (o typeOptions) {
	for _, set := range options {
		set(&o)
	}
	return o
}

// DeliveryLimit gives queues that say nothing about it a delivery limit: a message
// that comes back more often than n times is dead-lettered with the reason
// delivery_limit, or dropped. 0 is none.
//
// Classic queues know no such limit in RabbitMQ and refuse x-delivery-limit. With
// this option they take it, and count deliveries if they have one.
func DeliveryLimit(n int) Option {
	return func(o *typeOptions) { o.limited, o.deliveryLimit = true, n }
}
