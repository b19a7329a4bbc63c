package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNothingIsAcknowledgedBeforeItArrived(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), out.String())
	require.Equal(t, `no queue to forward to: warren: publish to exchange '' with routing key 'inbox': NO_ROUTE
outbox has 3
forwarded 3
outbox has 0
inbox has 3
`, out.String())
}

func TestAnEndOfPatienceIsAnError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, &bytes.Buffer{}), context.Canceled)
}
