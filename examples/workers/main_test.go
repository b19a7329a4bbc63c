package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFailedJobsAreTriedAgainAndThenPutAside(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), out.String())
	require.Equal(t, `8 jobs, 3 workers, at most 3 attempts each
job 1: done at attempt 1
job 2: done at attempt 1
job 3: done at attempt 2
job 4: done at attempt 1
job 5: done at attempt 1
job 6: given up after attempt 3: out of luck
job 7: done at attempt 1
job 8: done at attempt 1
0 left in jobs
1 left in jobs.failed
`, out.String())
}

func TestAnEndOfPatienceIsAnError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, &bytes.Buffer{}), context.Canceled)
}
