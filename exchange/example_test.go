package exchange_test

import (
	"fmt"

	"github.com/warrenmq/warren/exchange"
)

func Example() {
	types, err := exchange.NewTypes()
	if err != nil {
		fmt.Println(err)
		return
	}
	jobs := &exchange.Destination{Kind: exchange.KindQueue, Name: "jobs"}
	topology := exchange.NewTopology("/", types, func(name string) *exchange.Destination {
		if name == jobs.Name {
			return jobs
		}
		return nil
	})
	if _, err := topology.BindQueue("amq.topic", "jobs", "orders.*.created", nil, nil); err != nil {
		fmt.Println(err)
		return
	}
	_, err = topology.BindQueue("amq.topic", "nobody", "#", nil, nil)
	fmt.Println(err)

	x, err := topology.Find("amq.topic")
	if err != nil {
		fmt.Println(err)
		return
	}
	var subject exchange.Subject
	subject.Reset(nil, "orders.eu.created")
	queues, cacheable := topology.Route(x, &subject, nil)
	fmt.Println(len(queues), queues[0].Name, cacheable)
	// Output:
	// NOT_FOUND - no queue 'nobody' in vhost '/'
	// 1 jobs true
}
