package intercept

import (
	"errors"

	"github.com/warrenmq/warren/message"
)

// Content is what a publish brings: properties and a body. What is not looked at is
// not decoded, and what is not set is passed on octet by octet. It is good until
// Intercept returns.
type Content struct {
	msg     *message.Message // nil if it came from NewContent
	props   *message.Properties
	body    []byte
	hasBody bool
	used    bool // the publish it came with is over
}

// NewContent makes a content to replace the one that came. The body is copied when
// Intercept returns.
func NewContent(p message.Properties, body []byte) *Content {
	return &Content{props: &p, body: body, hasBody: true}
}

// Properties decodes the properties. The result shares nothing with the message,
// but that of SetProperties, so that it may be changed and set. An error is of
// properties that the broker refuses with 541 anyway; Intercept may return it.
func (c *Content) Properties() (message.Properties, error) {
	switch {
	case c.props != nil:
		return *c.props, nil
	case c.msg == nil:
		return message.Properties{}, errUsed
	}
	return c.msg.Properties()
}

// SetProperties replaces the properties. Those that cannot be sent, such as a
// string of more than 255 octets, are a fault of the interceptor's.
func (c *Content) SetProperties(p message.Properties) { c.props = &p }

// Body gives the body, to keep but not to change.
func (c *Content) Body() []byte {
	switch {
	case c.hasBody:
		return c.body
	case c.msg == nil:
		return nil
	}
	c.msg.Pin() // it may be kept
	return c.msg.Body()
}

// SetBody replaces the body. It is copied when Intercept returns, and may be longer
// than the one that came: the broker's limit is checked later.
func (c *Content) SetBody(body []byte) { c.body, c.hasBody = body, true }

// errUsed is the error of a content that was kept and given back with another
// publish.
var errUsed = errors.New("the content of a publish that is over")

// noProperties are the property flags of a message without any.
var noProperties = []byte{0, 0}

// message gives the message with what was set: the one that came if nothing was,
// else one of its own with a reference of its own.
func (c *Content) message() (*message.Message, error) {
	if c.used {
		return nil, errUsed
	}
	if c.msg != nil && c.props == nil && !c.hasBody {
		return c.msg, nil
	}
	props, body := noProperties, c.body
	switch {
	case c.props != nil:
		var err error
		if props, err = c.props.Append(nil); err != nil {
			return nil, err
		}
	case c.msg != nil:
		props = c.msg.Props()
	}
	if !c.hasBody && c.msg != nil {
		body = c.msg.Body()
	}
	m := message.New("", "", props, len(body))
	m.AppendBody(body)
	return m, nil
}

// end cuts the content off from its message, which belongs to others from now on.
func (c *Content) end() { c.msg, c.used = nil, true }
