package reply_test

import (
	"strings"
	"testing"

	"github.com/warrenmq/warren/reply"
)

// The lines are broken where RabbitMQ 3.10.8 was seen to break them.
func TestPairsAreBrokenAsErlangDoes(t *testing.T) {
	t.Parallel()
	at := func(column int) string { return strings.Repeat("x", column) }
	tests := map[string]struct{ text, tag, value, want string }{
		"at the beginning": {"", "tag", "1", "{tag,1}"},
		"just fits":        {at(49), "invalid_frame_end_marker", "65", at(49) + "{invalid_frame_end_marker,65}"},
		"one too long":     {at(50), "invalid_frame_end_marker", "65", at(50) + "{invalid_frame_end_marker,\n" + strings.Repeat(" ", 51) + "65}"},
		"behind the line":  {at(96), "t", "1", at(96) + "{t,\n" + strings.Repeat(" ", 97) + "1}"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := reply.ErlangPair(tt.text, tt.tag, tt.value); got != tt.want {
				t.Fatalf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}
