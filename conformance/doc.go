// Package conformance asks a broker whether it behaves like RabbitMQ 3.10.8.
//
// It plays scripted AMQP 0-9-1 scenarios over raw frames, writes down
// everything that comes back in a normalised form, and compares it, step by
// step, with what RabbitMQ sent for the same script. Both are kept in this
// directory:
//
//	testdata/scenarios/AREA/NAME.scn   the scripts
//	testdata/golden/AREA/NAME.txt      what RabbitMQ 3.10.8 answered
//	pending.txt                        scenarios of features still to come
//
// TestConformance plays the whole corpus against a broker in the test's own
// process. The command conformance/cmd/conform does the same against any
// broker, and records new transcripts from a real RabbitMQ.
//
// The package deliberately shares no code with the broker. It has a small wire
// codec of its own, so that a mistake in Warren's codec cannot hide itself, and
// it can send what no client library would: broken frames, methods out of
// order, wrong channels, oversized frames.
//
// The recorded transcripts are facts about RabbitMQ with its default
// configuration and the plugins management, consistent_hash_exchange,
// random_exchange and event_exchange, on Erlang 25.2.
//
// The language of the scripts is described in docs/testing.md.
package conformance
