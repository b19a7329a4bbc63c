package conformance

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// protocolHeader is what an AMQP 0-9-1 client sends first.
const protocolHeader = "AMQP\x00\x00\x09\x01"

// clientCapabilities are those a full RabbitMQ client announces.
var clientCapabilities = []string{
	"publisher_confirms", "exchange_exchange_bindings", "basic.nack",
	"consumer_cancel_notify", "connection.blocked", "authentication_failure_close",
}

// clientProperties gives the client's properties for a caps= word: nothing for
// all capabilities, "none", a list, or a list of those to leave out, each with
// a minus.
func clientProperties(caps string) table {
	announced := func(string) bool { return true }
	listed := strings.Split(caps, ",")
	contains := func(name string) bool {
		for _, c := range listed {
			if strings.TrimPrefix(c, "-") == name {
				return true
			}
		}
		return false
	}
	switch {
	case caps == "none":
		announced = func(string) bool { return false }
	case strings.HasPrefix(caps, "-"):
		announced = func(name string) bool { return !contains(name) }
	case caps != "":
		announced = contains
	}
	var list table
	for _, name := range clientCapabilities {
		if announced(name) {
			list = append(list, entry{name, value{'t', true}})
		}
	}
	t := table{{"product", value{'S', "conform"}}}
	if len(list) > 0 {
		t = append(t, entry{"capabilities", value{'F', list}})
	}
	return t
}

// login is what a connect step says.
type login struct {
	vhost, user, pass, mech, caps string
	channels                      string
	// What to answer to connection.tune; -1 keeps the broker's value, but for
	// heartbeats, which are off unless asked for.
	channelMax, frameMax, heartbeat int64
	showTune                        bool
}

func (p *player) login(w *words) (login, error) {
	l := login{showTune: w.flag("show-tune")}
	var errs []error
	for _, f := range []struct {
		to       *string
		key, def string
	}{
		{&l.vhost, "vhost", p.target.VHost},
		{&l.user, "user", p.target.User},
		{&l.pass, "pass", p.target.Password},
		{&l.mech, "mech", "PLAIN"},
		{&l.caps, "caps", ""},
		{&l.channels, "ch", ""},
	} {
		var err error
		*f.to, err = w.str(f.key, f.def)
		errs = append(errs, err)
	}
	for key, to := range map[string]*int64{
		"channel-max": &l.channelMax, "frame-max": &l.frameMax, "heartbeat": &l.heartbeat,
	} {
		var err error
		*to, err = w.num(key, -1)
		errs = append(errs, err)
	}
	return l, errors.Join(append(errs, w.done())...)
}

// response gives the SASL response for the mechanism.
func (l login) response() (string, error) {
	if l.mech != "AMQPLAIN" {
		return "\x00" + l.user + "\x00" + l.pass, nil
	}
	var w encoder
	err := w.table(table{{"LOGIN", value{'S', l.user}}, {"PASSWORD", value{'S', l.pass}}})
	if err != nil {
		return "", err
	}
	return string(w.Bytes()[4:]), nil // the entries without the table's length
}

// tuneOk answers connection.tune.
func (l login) tuneOk(tune fields) fields {
	f := fields{"channel-max": tune["channel-max"], "frame-max": tune["frame-max"], "heartbeat": uint64(0)}
	if n := tune.num("frame-max"); n == 0 || n > largestFrame {
		f["frame-max"] = uint64(largestFrame)
	}
	for key, n := range map[string]int64{
		"channel-max": l.channelMax, "frame-max": l.frameMax, "heartbeat": l.heartbeat,
	} {
		if n >= 0 {
			f[key] = uint64(n)
		}
	}
	return f
}

// connect opens a connection and its channels, and records open-ok or what
// came in the place of any answer.
func (p *player) connect(name string, w *words) error {
	l, err := p.login(w)
	if err != nil {
		return err
	}
	response, err := l.response()
	if err != nil {
		return err
	}
	c, err := p.dial(name)
	if err != nil {
		return err
	}
	c.vhost = l.vhost
	c.write([]byte(protocolHeader))
	e, err := p.handshakeStep(c, "connection.start")
	if e == nil {
		return err
	}
	err = c.send(0, methodsByName["connection.start-ok"], fields{
		"client-properties": clientProperties(l.caps), "mechanism": l.mech, "response": response, "locale": "en_US",
	})
	if err != nil {
		return err
	}
	if e, err = p.handshakeStep(c, "connection.tune"); e == nil {
		return err
	}
	if l.showTune {
		p.record(c, e, style{})
	}
	tuneOk := l.tuneOk(e.f)
	c.setFrameMax(uint32(min(tuneOk.num("frame-max"), math.MaxUint32)))
	if err := c.send(0, methodsByName["connection.tune-ok"], tuneOk); err != nil {
		return err
	}
	if err := c.send(0, methodsByName["connection.open"], fields{"virtual-host": l.vhost}); err != nil {
		return err
	}
	if e, err = p.handshakeStep(c, "connection.open-ok"); e == nil {
		return err
	}
	p.record(c, e, style{})
	return p.openChannels(c, l.channels)
}

// handshakeStep waits for one method of the handshake. Without an error, nil
// means that something else came; it is recorded, and the handshake is over.
func (p *player) handshakeStep(c *conn, want string) (*event, error) {
	e := c.next(0, nil, p.timeout)
	if e == nil {
		p.say(c, 0, "TIMEOUT waiting for %s", want)
		return nil, errWaited
	}
	if !e.is(want) {
		p.record(c, e, style{})
		return nil, nil
	}
	return e, nil
}

func (p *player) openChannels(c *conn, list string) error {
	if list == "" {
		return nil
	}
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return err
		}
		if err := p.verb(c, uint16(n), "open", nil); err != nil {
			return err
		}
	}
	return nil
}
