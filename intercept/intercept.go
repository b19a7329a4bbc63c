package intercept

import "fmt"

// Interceptor rewrites or refuses methods. It is used by many goroutines at once.
// If it is a fmt.Stringer, errors and the log call it by its String, else by its
// Go type.
type Interceptor interface {
	// Methods names the methods that the interceptor claims, such as
	// "basic.publish"; see Names. It is called once, by warren.New. A method has
	// one interceptor at most.
	Methods() []string
	// Intercept is given each of those methods, as a pointer to the type of this
	// package that has its Name, before it is carried out. It returns what is to be
	// carried out: m itself, changed or not, or another of the same type. The
	// package's documentation says what an error does, and what Intercept may use.
	// It must not keep m.
	Intercept(c Client, m Method) (Method, error)
}

// Client is who sent a method.
type Client struct {
	// Connection tells the connection from all others of the broker, as
	// ConnectionInfo.ID does, and Channel the channel from others of the connection.
	Connection uint64
	Channel    int
	// Name is the connection's: "peer:port -> host:port", or "memory-" and its
	// number for one that has no addresses.
	Name string
	// ClientName is what the client calls itself (connection_name); often empty.
	ClientName string
	// User is empty for a program's own channels that act for no user.
	User, VHost string
}

// On makes an interceptor of one method, the one that M stands for, of a function
// that changes it in place or refuses it.
func On[M Method](f func(Client, M) error) Interceptor { return on[M](f) }

type on[M Method] func(Client, M) error

// Methods implements Interceptor.
func (on[M]) Methods() []string {
	var m M
	if any(m) == nil {
		return nil // M is the interface Method, which claims nothing
	}
	return []string{m.Name()}
}

// Intercept implements Interceptor.
func (f on[M]) Intercept(c Client, m Method) (Method, error) {
	v, ok := m.(M)
	if !ok { // M is a type of somebody's own that goes by the method's name
		return nil, fmt.Errorf("%s is a %T", m.Name(), m)
	}
	return m, f(c, v)
}

// String is the interceptor's name.
func (f on[M]) String() string { return fmt.Sprintf("intercept.On%v", f.Methods()) }
