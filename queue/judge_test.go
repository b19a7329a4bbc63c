package queue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// errStopped marks what ended a game.
var errStopped = errors.New("")

// judge is a testing.TB that keeps the first failure to itself, so that a history
// that fails can be played again.
type judge struct {
	testing.TB
	err error
}

// Errorf implements testing.TB.
func (j *judge) Errorf(format string, args ...any) {
	if j.err != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if _, after, ok := strings.Cut(text, "Error:"); ok { // testify's, without where it was
		text = strings.Join(strings.Fields(after), " ")
	}
	j.err = errors.New(text)
}

// FailNow implements testing.TB. Only who plays the game calls it.
func (j *judge) FailNow() {
	if !errors.Is(j.err, errStopped) {
		j.err = fmt.Errorf("%w%w", errStopped, j.err)
	}
	panic(j.err)
}

func (j *judge) stop(format string, args ...any) {
	j.Errorf(format, args...)
	j.FailNow()
}
