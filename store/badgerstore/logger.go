package badgerstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// logger passes badger's words on, and listens: badger only logs an fsync of the
// value log that failed, and calls the write a success.
type logger struct {
	log *slog.Logger
	// failed is called with what is an error for the store.
	failed func(error)
}

// syncFailed begins what badger's value log says of an fsync that failed.
// TestAFailedSyncIsAnError keeps it in step with badger.
const syncFailed = "Error while curlf sync"

func (l *logger) Errorf(format string, args ...any) {
	text := message(format, args)
	l.log.Error("badger", "message", text)
	if strings.HasPrefix(format, syncFailed) {
		l.failed(fmt.Errorf("badgerstore: %s", text))
	}
}

func (l *logger) Warningf(format string, args ...any) {
	l.log.Warn("badger", "message", message(format, args))
}

func (l *logger) Infof(format string, args ...any) { l.debug(format, args) }

func (l *logger) Debugf(format string, args ...any) { l.debug(format, args) }

// debug formats only what is wanted: badger says a lot for each write.
func (l *logger) debug(format string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("badger", "message", message(format, args))
	}
}

func message(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}
