package queue

// classicCapabilities is what the classic type knows and what of it works. When
// a feature arrives its argument leaves Unimplemented; nothing else changes.
func classicCapabilities() Capabilities {
	return Capabilities{
		RabbitName: "rabbit_classic_queue",
		Arguments: []string{
			"x-expires",
			"x-message-ttl",
			argDeadLetterExchange,
			"x-dead-letter-routing-key",
			"x-max-length",
			"x-max-length-bytes",
			argMaxPriority,
			"x-overflow",
			"x-queue-mode",
			"x-queue-version",
			argSingleActive,
			argQueueType,
			"x-queue-master-locator",
		},
		ConsumerArguments: []string{
			argConsumerPriority,
			"x-cancel-on-ha-failover",
			"x-credit",
		},
		Unimplemented: []string{
			"x-credit",
		},
		Transient:   true,
		Exclusive:   true,
		AutoDelete:  true,
		ServerNamed: true,
		GlobalQos:   true,
	}
}
