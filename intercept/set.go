package intercept

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"

	"github.com/warrenmq/warren/message"
	"github.com/warrenmq/warren/reply"
)

// Set is the interceptors of a broker, by method. It is immutable; nil is an empty
// one.
type Set struct {
	log *slog.Logger
	by  map[string]named
}

type named struct {
	Interceptor
	name string
}

func nameOf(i Interceptor) string {
	if s, ok := i.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", i)
}

// NewSet makes a set; the log, which must not be nil, hears of interceptors that
// fail. The error says which
// of them claims nothing, something that is no method, or what another one claims.
func NewSet(log *slog.Logger, interceptors ...Interceptor) (*Set, error) {
	if len(interceptors) == 0 {
		return nil, nil
	}
	s := &Set{log: log, by: map[string]named{}}
	known := Names()
	for n, i := range interceptors {
		if i == nil {
			return nil, fmt.Errorf("interceptor %d of %d is nil", n+1, len(interceptors))
		}
		name, methods := nameOf(i), i.Methods()
		if len(methods) == 0 {
			return nil, fmt.Errorf("interceptor %s claims no method", name)
		}
		for _, m := range methods {
			if !slices.Contains(known, m) {
				return nil, fmt.Errorf("interceptor %s claims '%s', which is no method that can be intercepted", name, m)
			}
			if other, taken := s.by[m]; taken {
				return nil, fmt.Errorf("interceptors %s and %s both claim '%s'", other.name, name, m)
			}
			s.by[m] = named{i, name}
		}
	}
	return s, nil
}

// Claims reports whether an interceptor claims the method of that name.
func (s *Set) Claims(method string) bool {
	if s == nil {
		return false
	}
	_, ok := s.by[method]
	return ok
}

// Apply asks the interceptor that claims the method, if there is one, and gives what
// is to be carried out. The error is always a *reply.Error.
func Apply[M Method](s *Set, c Client, m M) (M, error) {
	var none M
	if !s.Claims(m.Name()) {
		return m, nil
	}
	i := s.by[m.Name()]
	got, err := s.ask(i, c, m)
	if err != nil {
		return none, err
	}
	out, ok := got.(M)
	if !ok || any(out) == any(none) {
		return none, reply.Errorf(reply.InternalError, "Interceptor: %s expected to return method: '%s' but returned: %s",
			i.name, m.Name(), shown(got, ok))
	}
	if err := check(out); err != nil {
		return none, s.failed(i, c, m, "error", err)
	}
	return out, nil
}

// shown names what came back instead of the method. One of the right type is a nil
// pointer.
func shown(m Method, rightType bool) string {
	if m == nil || rightType {
		return "undefined"
	}
	return "'" + m.Name() + "'"
}

// Publish is Apply for a publish with its message. The message that comes back is
// another one, with a reference of its own, where the content was changed; the
// caller's reference to msg stays the caller's.
func (s *Set) Publish(c Client, p *Publish, msg *message.Message) (*Publish, *message.Message, error) {
	content := &Content{msg: msg}
	defer content.end()
	p.Content = content
	out, err := Apply(s, c, p)
	if err != nil {
		return nil, nil, err
	}
	i := s.by[p.Name()]
	if out.Content == nil {
		return nil, nil, reply.Errorf(reply.InternalError, "Interceptor: %s expected to return content iff content is provided"+
			" but content in = content; content out = none", i.name)
	}
	if msg, err = out.Content.message(); err != nil {
		return nil, nil, s.failed(i, c, p, "error", err)
	}
	return out, msg, nil
}

// ask calls the interceptor. Its error is a *reply.Error.
func (s *Set) ask(i named, c Client, m Method) (got Method, err error) {
	defer func() {
		if v := recover(); v != nil {
			got, err = nil, s.failed(i, c, m, "panic", v, slog.String("stack", string(debug.Stack())))
		}
	}()
	got, err = i.Intercept(c, m)
	if err == nil {
		return got, nil
	}
	var refusal *reply.Error
	if errors.As(err, &refusal) && refusal != nil && refusal.Code != 0 {
		return nil, refusal
	}
	return nil, s.failed(i, c, m, "error", err)
}

// failed logs a fault of an interceptor's, and gives what the client is told.
func (s *Set) failed(i named, c Client, m Method, what string, why any, more ...any) error {
	s.log.Error("interceptor failed", append([]any{
		slog.String("interceptor", i.name), slog.String("method", m.Name()),
		slog.String("connection", c.Name), slog.String("vhost", c.VHost), slog.String("user", c.User),
		slog.Any(what, why),
	}, more...)...)
	return &reply.Error{Code: reply.InternalError, NoMethod: true}
}
