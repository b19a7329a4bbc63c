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
		Policies: classicPolicies(),
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

// classicPolicies are the policy keys that do not keep a policy from a classic queue.
// Those of mirroring, of memory and of the queue's implementation change nothing that
// can be seen on one node (contract 08 §5).
func classicPolicies() []string {
	return []string{
		"message-ttl", "expires",
		"max-length", "max-length-bytes", "overflow",
		"dead-letter-exchange", "dead-letter-routing-key",
		"queue-mode", "queue-version", "queue-master-locator",
		"max-in-memory-length", "max-in-memory-bytes",
		"ha-mode", "ha-params", "ha-sync-mode", "ha-sync-batch-size",
		"ha-promote-on-shutdown", "ha-promote-on-failure",
	}
}
