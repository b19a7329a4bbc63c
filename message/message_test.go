package message

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBufferClassesWasteAtMostAnEighth(t *testing.T) {
	t.Parallel()
	last := int8(-1)
	for n := 0; n <= maxPooled; n += 1 + n/512 {
		class, size := classOf(n)
		require.GreaterOrEqual(t, size, n)
		if n > minPooled {
			require.LessOrEqual(t, size-n, n/8+1, "%d octets in a buffer of %d", n, size)
		}
		require.GreaterOrEqual(t, class, max(last, 0))
		last = class
		sameClass, sameSize := classOf(size)
		require.Equal(t, class, sameClass, "a buffer of %d", size)
		require.Equal(t, size, sameSize)
	}
	last, _ = classOf(maxPooled)
	require.EqualValues(t, classes-1, last)
	class, size := classOf(maxPooled + 1)
	require.EqualValues(t, unpooled, class)
	require.Equal(t, maxPooled+1, size)
}

func TestMessageHoldsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 127, 128, 129, 1024, 5000, 1 << 17, 1<<18 + 1} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i * 7)
		}
		props := []byte{0x10, 0, 2}
		m := New("x", "k", props, min(size, 100))
		m.AppendBody(body[:size/2])
		m.AppendBody(body[size/2:])
		m.SetAttributes(true, 4)
		m.SetRoute("y", "l")
		require.Equal(t, props, m.Props())
		require.Equal(t, body, append([]byte{}, m.Body()...))
		require.Equal(t, size, m.Size())
		require.Equal(t, "y", m.Exchange())
		require.Equal(t, "l", m.RoutingKey())
		require.True(t, m.Persistent())
		require.EqualValues(t, 4, m.Priority())
		require.GreaterOrEqual(t, m.Footprint(), size)
		m.Release()
	}
}

func TestReleasedMessageComesBackClean(t *testing.T) {
	t.Parallel()
	for range 100 {
		m := New("x", "k", []byte{0x10, 0, 2}, 50)
		m.AppendBody(make([]byte, 50))
		m.SetAttributes(true, 9)
		m.Release()
		n := New("", "", nil, 50)
		require.Empty(t, n.Body())
		require.Empty(t, n.Props())
		require.False(t, n.Persistent())
		require.Zero(t, n.Priority())
		n.Release()
	}
}

func TestRetainedMessageOutlivesARelease(t *testing.T) {
	t.Parallel()
	m := New("x", "k", nil, 3)
	m.AppendBody([]byte("abc"))
	m.Retain(1)
	m.Release()
	require.Equal(t, "abc", string(m.Body()))
	m.Release()
}

func TestPinnedMessageIsNeverRecycled(t *testing.T) {
	t.Parallel()
	m := New("x", "k", nil, 3)
	m.AppendBody([]byte("abc"))
	m.Pin()
	body := m.Body()
	m.Release()
	for range 100 {
		n := New("x", "k", nil, 3)
		n.AppendBody([]byte("xyz"))
		n.Release()
	}
	require.Equal(t, "abc", string(body))
}

func TestPublishedMessageNeedsNoAllocation(t *testing.T) {
	body := make([]byte, 1024)
	got := testing.AllocsPerRun(1000, func() {
		m := New("x", "k", []byte{0, 0}, len(body))
		m.AppendBody(body)
		m.Release()
	})
	require.Less(t, got, 0.1)
}

func BenchmarkMessage(b *testing.B) {
	body := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		m := New("x", "k", []byte{0, 0}, len(body))
		m.AppendBody(body)
		m.Release()
	}
}
