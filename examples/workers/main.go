// Command workers is a pool of workers that share the jobs of a queue. A job that
// fails is tried again, a bounded number of times, and then put aside.
//
// A header counts the attempts. A failed job is published anew with the next
// number, behind the jobs that wait already, and the old copy is acknowledged
// once the new one is confirmed: if the program dies in between there is a copy
// too many, and never one too few. So a job must be fit to be done twice.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/warrenmq/warren"
)

const (
	jobs        = 8
	workers     = 3
	maxAttempts = 3

	queue      = "jobs"
	failed     = "jobs.failed"
	attemptKey = "attempt"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "workers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) (err error) {
	b, err := warren.New(warren.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	ch, err := b.Channel(ctx)
	if err != nil {
		return err
	}
	defer ch.Close()
	for _, name := range []string{queue, failed} {
		if _, err := ch.DeclareQueue(ctx, name); err != nil {
			return err
		}
	}
	for i := range jobs {
		if err := submit(ctx, ch, queue, fmt.Sprint("job ", i+1), 1); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "%d jobs, %d workers, at most %d attempts each\n", jobs, workers, maxAttempts)

	// Handle goes on until its context ends, which happens when the last job is
	// settled one way or the other.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := pool{ch: ch, left: jobs, outcomes: map[string]string{}, finished: func() { stop(errFinished) }}
	// A worker has one job at hand and at most one more waiting for it; the others
	// stay in the queue, for whoever is free first.
	err = ch.Handle(ctx, queue, workers, p.handle, warren.Prefetch(2*workers))
	if !errors.Is(err, errFinished) {
		return err
	}
	for i := range jobs {
		job := fmt.Sprint("job ", i+1)
		fmt.Fprintf(w, "%s: %s\n", job, p.outcomes[job])
	}

	ctx = context.WithoutCancel(ctx)
	for _, name := range []string{queue, failed} {
		q, err := ch.DeclareQueue(ctx, name, warren.Passive())
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%d left in %s\n", q.Messages, name)
	}
	return nil
}

// errFinished is why the workers stop when all went well.
var errFinished = errors.New("all jobs are finished")

// submit puts a job into a queue and returns when it is safe there.
func submit(ctx context.Context, ch *warren.Channel, queue, job string, attempt int32) error {
	return ch.PublishConfirmed(ctx, "", queue, warren.Message{
		Properties: warren.Properties{Headers: warren.Table{{Name: attemptKey, Value: attempt}}},
		Body:       []byte(job),
	})
}

// pool is what the workers share.
type pool struct {
	ch       *warren.Channel
	finished func() // called when no job is left

	mu       sync.Mutex
	left     int
	outcomes map[string]string
}

// handle deals with one delivery. Nil acknowledges it: the job is done, or its
// next attempt is safe in a queue. An error would give it back to its queue.
func (p *pool) handle(ctx context.Context, d warren.Delivery) error {
	job := string(d.Body)
	attempt := attemptOf(d)
	err := work(job, attempt)
	switch {
	case err == nil:
		p.settle(job, fmt.Sprintf("done at attempt %d", attempt))
		return nil
	case attempt < maxAttempts:
		return submit(ctx, p.ch, queue, job, attempt+1)
	}
	if err := submit(ctx, p.ch, failed, job, attempt); err != nil {
		return err
	}
	p.settle(job, fmt.Sprintf("given up after attempt %d: %v", attempt, err))
	return nil
}

// attemptOf reads the header that submit wrote.
func attemptOf(d warren.Delivery) int32 {
	v, _ := d.Properties().Headers.Get(attemptKey)
	if n, ok := v.(int32); ok {
		return n
	}
	return 1 // whoever published it did not count
}

func (p *pool) settle(job, outcome string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcomes[job] = outcome
	if p.left--; p.left == 0 {
		p.finished()
	}
}

// work stands for something that fails now and then: job 3 at its first attempt,
// job 6 always.
func work(job string, attempt int32) error {
	if job == "job 3" && attempt == 1 || job == "job 6" {
		return errors.New("out of luck")
	}
	return nil
}
