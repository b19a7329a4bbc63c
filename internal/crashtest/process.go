package crashtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// startWait is how long a broker may take to be ready.
const startWait = 60 * time.Second

// broker is a broker that can be killed.
type broker interface {
	// ready waits until it can be used.
	ready(context.Context) error
	dial() (*amqp.Connection, error)
	// ask has an administrator's command carried out.
	ask(line string) (string, error)
	// kill ends it as kill -9 does, quit in order. Both wait for its end.
	kill()
	quit() error
	// ended is closed at its end, be that one of its own will, and said tells
	// what it had to say.
	ended() <-chan struct{}
	said() string
}

// process is a broker in a process of its own.
type process struct {
	cmd   *exec.Cmd
	addr  string // of its listener
	stdin io.WriteCloser
	lines chan string // of its standard output
	end   chan struct{}
	err   error // once it has ended

	mu     sync.Mutex
	stderr []string // the last lines
}

// startProcess starts a broker. It does not wait until it is ready.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, lines: make(chan string, 100), end: make(chan struct{})}
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var readers sync.WaitGroup
	readers.Go(func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
	})
	readers.Go(func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if strings.Contains(s.Text(), "Channel error") {
				continue // what does not exist is asked for on purpose
			}
			p.mu.Lock()
			p.stderr = append(p.stderr, s.Text())
			if len(p.stderr) > 200 {
				p.stderr = p.stderr[1:]
			}
			p.mu.Unlock()
		}
	})
	go func() {
		readers.Wait() // before Wait, which closes the pipes
		p.err = cmd.Wait()
		close(p.end)
	}()
	return p, nil
}

// ready waits until the broker listens.
func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				<-p.end
				return fmt.Errorf("the broker ended before it listened: %w: %v", p.err, p.said())
			}
			if _, addr, ok := strings.Cut(line, "listening on"); ok {
				p.addr = strings.TrimSpace(addr)
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("the broker does not listen: %w: %v", ctx.Err(), p.said())
		}
	}
}

func (p *process) ended() <-chan struct{} { return p.end }

// said gives the last lines of standard error.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.stderr, "\n")
}

// kill ends the process as kill -9 does, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	p.drain()
}

// quit asks the broker to stop in order.
func (p *process) quit() error {
	if _, err := io.WriteString(p.stdin, "quit\n"); err != nil {
		return err
	}
	stuck := time.AfterFunc(startWait, func() { _ = p.cmd.Process.Kill() })
	p.drain()
	if !stuck.Stop() {
		return errors.New("the broker did not stop")
	}
	return p.err
}

func (p *process) drain() {
	for range p.lines {
	}
	<-p.end
}

// ask sends one line to the broker and gives its answer.
func (p *process) ask(line string) (string, error) {
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		return "", err
	}
	answer, ok := <-p.lines
	switch {
	case !ok:
		return "", io.ErrUnexpectedEOF
	case strings.HasPrefix(answer, "error "):
		return "", &refusal{fmt.Sprintf("%s: %s", line, answer)}
	}
	return strings.TrimPrefix(answer, "ok "), nil
}

// refusal is an answer of the broker that should not have come.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// dial connects with the official client.
func (p *process) dial() (*amqp.Connection, error) {
	return amqp.DialConfig("amqp://guest:guest@"+p.addr+"/", amqp.Config{Heartbeat: 30 * time.Second})
}
