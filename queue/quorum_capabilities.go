package queue

// quorumCapabilities are those of RabbitMQ's quorum queue. Declares are checked
// against them even while no type of that name is registered.
func quorumCapabilities() Capabilities {
	return Capabilities{
		RabbitName: "rabbit_quorum_queue",
		Arguments: []string{
			argDeadLetterExchange,
			"x-dead-letter-routing-key",
			"x-dead-letter-strategy",
			"x-expires",
			"x-max-length",
			"x-max-length-bytes",
			"x-max-in-memory-length",
			"x-max-in-memory-bytes",
			"x-overflow",
			argSingleActive,
			argQueueType,
			"x-quorum-initial-group-size",
			argDeliveryLimit,
			"x-message-ttl",
			"x-queue-leader-locator",
		},
		ConsumerArguments: []string{argConsumerPriority, "x-credit"},
		Policies: []string{
			"message-ttl", "expires",
			"max-length", "max-length-bytes", "max-in-memory-length", "max-in-memory-bytes", "overflow",
			"dead-letter-exchange", "dead-letter-routing-key", "dead-letter-strategy",
			policyDeliveryLimit, "queue-leader-locator",
			"queue-version", "ha-sync-batch-size", // of classic queues, but RabbitMQ minds only the others
		},
		Unimplemented: []string{"x-credit"},
	}
}
