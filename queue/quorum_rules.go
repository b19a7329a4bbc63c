package queue

import "github.com/warrenmq/warren/message"

// quorumRules reads the arguments and the policy of a quorum queue, which have been
// checked: of numbers the lower one counts, overflow and x-expires are those of the
// policy where it has them, and the rest is the argument's (contract 08 §5).
func quorumRules(arguments, policy message.Table, byDefault int) rules {
	// first gives the first of the values there are, of the argument and the policy.
	first := func(values ...any) any {
		for _, v := range values {
			if v != nil {
				return v
			}
		}
		return nil
	}
	fromPolicy := func(key string) any {
		v := both(arguments, policy, key)
		return first(v[1], v[0])
	}
	r := rules{
		any:       true, // what comes back may have to be loaded first
		ttl:       min(lower(arguments, policy, "message-ttl", -1), longest),
		idle:      -1,
		maxLength: lower(arguments, policy, "max-length", noLength),
		maxBytes:  lower(arguments, policy, "max-length-bytes", noLength),
		counts:    true, lateDrop: true,
	}
	if n, ok := message.Int(fromPolicy("expires")); ok {
		r.idle = min(n, longest)
	}
	r.limited = r.maxLength != noLength || r.maxBytes != noLength
	r.rejects = fromPolicy("overflow") == "reject-publish"
	r.refuses = r.rejects && r.limited
	limit, limits := deliveryLimit(arguments, policy, byDefault)
	r.limit, r.toTail = limit, !limits
	exchange := both(arguments, policy, "dead-letter-exchange")
	if x, ok := first(exchange[0], exchange[1]).(string); ok {
		r.dlx, r.buries = x, true
		key := both(arguments, policy, "dead-letter-routing-key")
		r.rekey, r.rekeys = first(key[0], key[1]).(string)
		strategy := both(arguments, policy, "dead-letter-strategy")
		r.sure = first(strategy[0], strategy[1]) == "at-least-once" && r.rejects
	}
	return r
}

// adopt takes another policy over. As in RabbitMQ the time that the queue may be unused
// begins anew, lower limits drop at once what is too much unless that is refused, and a
// time to live is for messages that come later. Dead letters that are to be sent at
// least once are tried again now; if that is not asked for any more they are sent once,
// where RabbitMQ drops them.
func (q *quorum) adopt(policy message.Table, out *Actions) {
	old := q.rules
	q.rules = q.merge(policy)
	q.grave.bequeath(old)
	q.use()
	if !q.rules.refuses {
		q.publishers = publishers{}
		q.dropOver(out)
	}
	if q.rules.sure {
		q.letters.retry()
	} else {
		q.sendOff(out)
	}
}
