//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"time"
)

// tools are programs that this one starts, or a broker that is there.
type tools struct {
	amqpload, warren, rabbit string
	rabbitPID                int
}

// ways are those over TCP, as far as there is what they need.
func (t *tools) ways() (ways []way) {
	if t.amqpload == "" {
		return nil
	}
	if t.warren != "" {
		ways = append(ways, way{wayTCP, t.runWarren})
	}
	if t.rabbit != "" {
		ways = append(ways, way{wayRabbit, func(_ string, s shape, d time.Duration) (sample, error) {
			return t.load(t.rabbit, t.rabbitPID, s, d)
		}})
	}
	return ways
}

// runWarren loads a cmd/warren of its own.
func (t *tools) runWarren(dir string, s shape, d time.Duration) (_ sample, err error) {
	addr, err := freeAddr()
	if err != nil {
		return sample{}, err
	}
	broker := exec.Command(t.warren, "-data", dir, "-listen", addr, "-log-level", "error")
	if err := broker.Start(); err != nil {
		return sample{}, err
	}
	defer func() { _ = broker.Wait() }()
	defer func() { err = errors.Join(err, broker.Process.Kill()) }()
	if err := answers(addr); err != nil {
		return sample{}, err
	}
	return t.load("amqp://guest:guest@"+addr+"/", broker.Process.Pid, s, d)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers waits until somebody takes connections.
func answers(addr string) (err error) {
	for range 500 {
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// load lets amqpload publish to a queue for each publisher without a consumer.
func (t *tools) load(uri string, pid int, s shape, d time.Duration) (sample, error) {
	out, err := exec.Command(t.amqpload, "-uri", uri, "-pid", strconv.Itoa(pid), "-json", "-quiet",
		"-mode", "confirm", "-confirm", strconv.Itoa(s.window), "-persistent", "-durable",
		"-producers", strconv.Itoa(s.publishers), "-queues", strconv.Itoa(s.publishers), "-consumers", "0",
		"-size", strconv.Itoa(s.size), "-duration", d.String()).Output()
	var r struct {
		Rate      float64 `json:"publish_rate"`
		CPU       float64 `json:"broker_cpu_us_per_publish"`
		Sent      uint64  `json:"sent"`
		Confirmed uint64  `json:"confirmed"`
	}
	if jsonErr := json.Unmarshal(out, &r); jsonErr != nil {
		return sample{}, errors.Join(err, jsonErr)
	}
	if r.Sent == 0 || r.Confirmed != r.Sent {
		return sample{}, fmt.Errorf("%d of %d messages were confirmed: %w", r.Confirmed, r.Sent, err)
	}
	return sample{r.Rate, time.Duration(r.CPU * float64(time.Microsecond))}, nil
}
