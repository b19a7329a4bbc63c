package conformance

import (
	"errors"
	"strconv"
	"time"
)

const (
	// quietTime is how long "quiet" listens unless the script says otherwise.
	quietTime = 150 * time.Millisecond
	// quietSlice is how much of it a stall of the machine uses up at most, however long
	// it is.
	quietSlice = 10 * time.Millisecond
	// heartbeatTime is how long "heartbeats" counts unless the script says
	// otherwise.
	heartbeatTime = 2500 * time.Millisecond
	// pollTime lies between two looks of "await".
	pollTime = 20 * time.Millisecond
	// getallLimit ends a getall on a queue that refills itself.
	getallLimit = 1000
)

// expectStep records the next events of a channel.
func (p *player) expectStep(k *call) error {
	n, err := k.words.num("n", 1)
	if err != nil {
		return err
	}
	var filter func(*event) bool
	if only, ok := k.words.take("only"); ok {
		filter = func(e *event) bool { return e.is(only) }
	}
	sorted := k.words.flag("sort")
	how := style{anyTag: k.words.flag("anytag"), brief: k.words.flag("brief"), noText: k.words.flag("notext")}
	if err := k.words.done(); err != nil {
		return err
	}
	first := len(p.out)
	for range n {
		e, err := p.wait(k.c, k.ch, filter, k.timeout, how)
		if err != nil {
			return err
		}
		if e.kind == eventEOF {
			break
		}
	}
	if sorted {
		sortEvents(p.out[first:])
	}
	return nil
}

// quietStep records that nothing comes, or what does.
func (p *player) quietStep(k *call) error {
	d, err := k.words.duration("for", quietTime)
	if err := errors.Join(err, k.words.done()); err != nil {
		return err
	}
	for ; d > 0; d -= quietSlice {
		if e := k.c.next(k.ch, nil, min(d, quietSlice)); e != nil {
			p.record(k.c, e, style{})
			return nil
		}
	}
	p.say(k.c, k.ch, "(nothing)")
	return nil
}

// hangupStep waits for the end of the connection, whether by connection.close
// or without a word.
func (p *player) hangupStep(k *call) error {
	if err := k.words.done(); err != nil {
		return err
	}
	for {
		e := k.c.next(0, nil, k.timeout)
		switch {
		case e == nil:
			p.say(k.c, 0, "TIMEOUT")
			return errWaited
		case e.kind == eventEOF || e.is("connection.close"):
			p.say(k.c, 0, "connection ended")
			return nil
		}
		p.record(k.c, e, style{})
	}
}

// heartbeatsStep counts the heartbeats that come in a while.
func (p *player) heartbeatsStep(k *call) error {
	d, err1 := k.words.duration("for", heartbeatTime)
	want, err2 := k.words.num("min", 1)
	if err := errors.Join(err1, err2, k.words.done()); err != nil {
		return err
	}
	time.Sleep(d)
	if got := k.c.takeHeartbeats(); int64(got) >= want {
		p.say(k.c, 0, "heartbeats came (at least %d)", want)
	} else {
		p.say(k.c, 0, "only %d heartbeats, wanted %d", got, want)
	}
	return nil
}

// getallStep empties a queue by basic.get with automatic acknowledgement.
func (p *player) getallStep(k *call) error {
	queue, err := k.words.str("queue", "")
	if err := errors.Join(err, k.words.done()); err != nil {
		return err
	}
	for range getallLimit {
		err := k.c.send(k.ch, methodsByName["basic.get"], fields{"queue": queue, "no-ack": true})
		if err != nil {
			return err
		}
		e, err := p.wait(k.c, k.ch, answer, k.timeout, style{})
		if err != nil {
			return err
		}
		if !e.is("basic.get-ok") {
			break
		}
	}
	return nil
}

// awaitStep polls with passive declares until the queue has the wanted counts
// or is gone. It fixes a moment; the polls are not recorded.
func (p *player) awaitStep(k *call) error {
	queue, err := k.words.str("queue", "")
	if err != nil {
		return err
	}
	want := map[string]string{}
	for key, name := range map[string]string{"ready": "message-count", "consumers": "consumer-count"} {
		if s, ok := k.words.take(key); ok {
			want[name] = s
		}
	}
	gone := k.words.flag("gone")
	if err := k.words.done(); err != nil {
		return err
	}
	for deadline := time.Now().Add(k.timeout); ; time.Sleep(pollTime) {
		err := k.c.send(k.ch, methodsByName["queue.declare"], fields{"queue": queue, "passive": true})
		if err != nil {
			return err
		}
		e := k.c.next(k.ch, answer, k.timeout)
		switch {
		case e == nil:
			p.say(k.c, k.ch, "TIMEOUT")
			return errWaited
		case gone && e.is("channel.close") && e.f.num("reply-code") == 404:
			p.say(k.c, k.ch, "queue is gone (404)")
			return nil
		case !e.is("queue.declare-ok"):
			p.record(k.c, e, style{})
			return nil
		case !gone && reached(e.f, want):
			p.say(k.c, k.ch, "reached")
			return nil
		case time.Now().After(deadline):
			p.say(k.c, k.ch, "TIMEOUT with ready=%d consumers=%d", e.f.num("message-count"), e.f.num("consumer-count"))
			return errWaited
		}
	}
}

// reached says whether all wanted counts are there.
func reached(got fields, want map[string]string) bool {
	for name, s := range want {
		if strconv.FormatUint(got.num(name), 10) != s {
			return false
		}
	}
	return true
}
