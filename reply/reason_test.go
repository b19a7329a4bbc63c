package reply

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReasonString(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]Reason{
		`broker: 404 "NOT_FOUND - no queue 'q' in vhost '/'"`: Errorf(NotFound, "no queue 'q' in vhost '/'").Reason(),
		`client: 200 "Goodbye"`:                               {By: ByClient, Code: 200, Text: "Goodbye"},
		"client":                                              {By: ByClient},
		"network: it went":                                    {By: ByNetwork, Text: "it went", Err: io.EOF},
		"Party(0)":                                            {},
	} {
		require.Equal(t, want, r.String())
	}
}

func TestTheReasonOfAnErrorHasTheTextThatTheClientWasTold(t *testing.T) {
	t.Parallel()
	e := Errorf(AccessRefused, "%s", strings.Repeat("x", 300))
	require.Equal(t, Reason{By: ByBroker, Code: AccessRefused, Text: e.ReplyText()}, e.Reason())
}
