// Package intercept lets a program see what clients ask of a broker before it is
// carried out, and rewrite or refuse it: the routing key, properties or body of a
// publish, the arguments of a declare, the queue of a consumer.
//
// An Interceptor is handed to the broker in Options.Interceptors. It is asked
// wherever a method reaches a channel object, which is behind every way into the
// broker: TCP, connections through memory, the native API and package amqp091.
// For one method, On makes one of a function:
//
//	intercept.On(func(c intercept.Client, p *intercept.Publish) error {
//		if c.User == "sensor" && !strings.HasPrefix(p.RoutingKey, "sensor.") {
//			return reply.Errorf(reply.AccessRefused, "sensors publish below 'sensor.' only")
//		}
//		return nil
//	})
//
// # When it is asked
//
// Interceptors come before all checks (contract 03 §2), permissions included: what
// they made of a method is checked as if the client had sent it. Names left empty
// for "the queue declared last" are filled in already. A channel that waits for the
// end of its close ignores methods without asking anybody, and a publish whose body
// is over the broker's limit is refused without.
//
// # What it may do
//
// It may change the method that it is given, or return another of the same type.
// It may refuse: a *reply.Error with a soft code closes the channel, one with a
// hard code the connection, as if a check of the broker's own had failed. Any
// other error is a fault of the interceptor's: it is logged, and the connection is
// closed with 541 INTERNAL_ERROR. So it is if the interceptor panics, returns a
// method of another type or none, or one that no client could send, such as one
// with a name of more than 255 octets.
//
// # Goroutines
//
// An interceptor runs on the goroutine that reads for the client, or on that of
// the caller within the program. It has the channel that asks to itself, and holds
// nothing else of the broker's: no lock, no queue's turn. So it may take its time;
// its connection does nothing else meanwhile, and the broker does not end before it
// returns. Different connections call it at the same time. It may use the broker, but
// neither the channel that asks nor anything that waits for that channel's end:
// Broker.Close, CloseConnections of its user, deleting that user or the virtual
// host. What it publishes or declares itself, through another channel, is intercepted
// too.
package intercept
