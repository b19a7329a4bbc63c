package conformance

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// call is a step on a connection or a channel.
type call struct {
	c       *conn
	ch      uint16
	words   *words
	timeout time.Duration
}

// verb carries out what a step says behind the channel.
func (p *player) verb(c *conn, ch uint16, verb string, list []string) error {
	verb, silent := strings.CutPrefix(verb, "!")
	switch verb {
	case "open":
		verb = "channel.open"
	case "close":
		verb, list = "channel.close", append([]string{"reply-code=200"}, list...)
		if ch == 0 {
			verb = "connection.close"
		}
	case "raw", "body":
		return p.bytes(c, ch, verb == "body", list)
	}
	k := &call{c: c, ch: ch, words: newWords(list, p.vars)}
	var err error
	if k.timeout, err = k.words.duration("timeout", p.timeout); err != nil {
		return err
	}
	if m := methodsByName[verb]; m != nil {
		return p.methodStep(k, m, silent)
	}
	do, ok := map[string]func(*call) error{
		"publish":    p.publishStep,
		"header":     p.headerStep,
		"heartbeat":  p.heartbeatStep,
		"frame":      p.frameStep,
		"expect":     p.expectStep,
		"quiet":      p.quietStep,
		"hangup":     p.hangupStep,
		"confirms":   p.confirmsStep,
		"getall":     p.getallStep,
		"await":      p.awaitStep,
		"heartbeats": p.heartbeatsStep,
		"drop":       p.dropStep,
		"manual":     p.manualStep,
	}[verb]
	if !ok {
		return fmt.Errorf("unknown verb %q", verb)
	}
	return do(k)
}

// bytes sends strings as they are, or as one body frame.
func (p *player) bytes(c *conn, ch uint16, inFrame bool, list []string) error {
	var all []byte
	for _, word := range list {
		s, err := p.vars.str(word)
		if err != nil {
			return err
		}
		all = append(all, s...)
	}
	if inFrame {
		all = encodeFrame(frameBody, ch, all, frameEnd)
	}
	c.write(all)
	return nil
}

func (p *player) methodStep(k *call, m *method, silent bool) error {
	f, err := k.words.methodFields(m)
	if err != nil {
		return err
	}
	how := style{brief: k.words.flag("brief")}
	if err := k.words.done(); err != nil {
		return err
	}
	p.note(k, m, f)
	if err := k.c.send(k.ch, m, f); err != nil {
		return err
	}
	if m.name == "basic.publish" {
		p.publishes(k.c, k.ch).sent()
	}
	if silent || !m.answered || f["no-wait"] == true {
		if m.name == "confirm.select" {
			p.publishes(k.c, k.ch).confirm()
		}
		return nil
	}
	e, err := p.wait(k.c, k.ch, answer, k.timeout, how)
	if err != nil {
		return err
	}
	switch {
	case e.is("channel.open-ok"):
		delete(p.pubs, k.c.label(k.ch)) // a new channel counts anew
	case e.is("confirm.select-ok"):
		p.publishes(k.c, k.ch).confirm()
	}
	return nil
}

// note remembers what a method that is about to be sent means for the client.
func (p *player) note(k *call, m *method, f fields) {
	switch m.name {
	case "queue.declare":
		p.own(k.c.vhost, "queue", f.str("queue"))
	case "exchange.declare":
		p.own(k.c.vhost, "exchange", f.str("exchange"))
	case "connection.tune-ok":
		if n := f.num("frame-max"); n != 0 {
			k.c.setFrameMax(uint32(n))
		}
	case "basic.consume":
		if f["no-wait"] == true {
			k.c.expectTag(k.ch, f.str("consumer-tag"))
		}
	}
}

// own notes what to delete at the end: only names of this run.
func (p *player) own(vhost, kind, name string) {
	if strings.HasPrefix(name, p.vars.prefix) {
		p.made[resource{vhost, kind, name}] = true
	}
}

func (p *player) publishStep(k *call) error {
	method := methodsByName["basic.publish"]
	f, err := k.words.methodFields(method)
	if err != nil {
		return err
	}
	props, err := k.words.properties()
	if err != nil {
		return err
	}
	body, err := k.words.str("body", "")
	if err := errors.Join(err, k.words.done()); err != nil {
		return err
	}
	head, err := encodeMethod(method, f)
	if err != nil {
		return err
	}
	header, err := encodeHeader(basicClass, 0, uint64(len(body)), props)
	if err != nil {
		return err
	}
	out := encodeFrame(frameMethod, k.ch, head, frameEnd)
	out = append(out, encodeFrame(frameHeader, k.ch, header, frameEnd)...)
	part := k.c.bodyPart()
	for rest := []byte(body); len(rest) > 0; {
		n := min(part, len(rest))
		out = append(out, encodeFrame(frameBody, k.ch, rest[:n], frameEnd)...)
		rest = rest[n:]
	}
	k.c.write(out)
	p.publishes(k.c, k.ch).sent()
	return nil
}

func (p *player) headerStep(k *call) error {
	props, err := k.words.properties()
	if err != nil {
		return err
	}
	class, err1 := k.words.num("class", basicClass)
	weight, err2 := k.words.num("weight", 0)
	size, err3 := k.words.num("size", 0)
	if err := errors.Join(err1, err2, err3, k.words.done()); err != nil {
		return err
	}
	b, err := encodeHeader(uint16(class), uint16(weight), uint64(size), props)
	if err != nil {
		return err
	}
	k.c.write(encodeFrame(frameHeader, k.ch, b, frameEnd))
	return nil
}

func (p *player) heartbeatStep(k *call) error {
	if err := k.words.done(); err != nil {
		return err
	}
	k.c.write(encodeFrame(frameHeartbeat, k.ch, nil, frameEnd))
	return nil
}

func (p *player) frameStep(k *call) error {
	typ, err1 := k.words.num("type", frameMethod)
	payload, err2 := k.words.str("payload", "")
	end, err3 := k.words.num("end", frameEnd)
	if err := errors.Join(err1, err2, err3, k.words.done()); err != nil {
		return err
	}
	k.c.write(encodeFrame(byte(typ), k.ch, []byte(payload), byte(end)))
	return nil
}

func (p *player) dropStep(k *call) error {
	k.c.drop()
	return k.words.done()
}

func (p *player) manualStep(k *call) error {
	k.c.leaveCloses()
	return k.words.done()
}
