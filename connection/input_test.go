package connection

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/wire"
)

func inputOf(r io.Reader) *input {
	in := newInput(r, new(atomic.Uint64))
	return &in
}

// frames reads all frames, and gives the error that came instead of the next.
func (in *input) frames(max uint32) (fs []wire.Frame, err error) {
	for {
		f, err := in.frame(max)
		for err == errIncomplete {
			if err = in.fill(); err != nil {
				return fs, err
			}
			f, err = in.frame(max)
		}
		if err != nil {
			return fs, err
		}
		f.Payload = bytes.Clone(f.Payload)
		fs = append(fs, f)
	}
}

// pieces reads from a stream in pieces of any size, now and then nothing with an
// error that passes.
type pieces struct {
	rest []byte
	rnd  *rand.Rand
	most int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(to[:min(len(to), 1+p.rnd.IntN(p.most))], p.rest)
	p.rest = p.rest[n:]
	if len(p.rest) == 0 && p.rnd.IntN(2) == 0 {
		return n, io.EOF
	}
	return n, nil
}

func TestAnySplitOfAStreamGivesTheSameFrames(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var stream []byte
		var want []wire.Frame
		for range 1 + rnd.IntN(60) {
			size := rnd.IntN(300)
			switch rnd.IntN(20) {
			case 0:
				size = rnd.IntN(131073)
			case 1:
				size = rnd.IntN(5000)
			}
			payload := pattern(int(seed), size)
			if size == 0 {
				payload = nil
			}
			want = append(want, wire.Frame{Type: uint8(rnd.IntN(256)), Channel: uint16(rnd.IntN(65536)), Payload: payload})
			f := want[len(want)-1]
			stream = append(stream, frame(f.Type, f.Channel, f.Payload)...)
		}
		most := []int{1, 7, 100, 5000, 1 << 20}[rnd.IntN(5)]
		in := inputOf(&pieces{stream, rnd, most})
		got, err := in.frames(131072)
		require.ErrorIs(t, err, io.EOF)
		require.True(t, in.ended)
		require.EqualValues(t, len(stream), in.received.Load())
		require.Len(t, got, len(want), "seed %d", seed)
		for i := range want {
			require.Equal(t, want[i].Type, got[i].Type)
			require.Equal(t, want[i].Channel, got[i].Channel)
			require.True(t, bytes.Equal(want[i].Payload, got[i].Payload), "seed %d frame %d", seed, i)
		}
	}
}

// endless gives the same frame again and again and counts the reads.
type endless struct {
	frame []byte
	at    int
	most  int // octets at a time; 0 is as many as there is room for
	reads int
	given int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.most > 0 && len(p) > e.most {
		p = p[:e.most]
	}
	for i := range p {
		p[i] = e.frame[e.at]
		e.at = (e.at + 1) % len(e.frame)
	}
	e.reads++
	e.given += len(p)
	return len(p), nil
}

func (in *input) take(t *testing.T, n int) {
	t.Helper()
	for range n {
		_, err := in.frame(131072)
		for err == errIncomplete {
			require.NoError(t, in.fill())
			_, err = in.frame(131072)
		}
		require.NoError(t, err)
	}
}

// A client that has nothing to say any more sends heartbeats.
func TestInputGivesItsMemoryBackAtAHeartbeat(t *testing.T) {
	t.Parallel()
	beat := wire.AppendHeartbeat(nil)
	busy := bytes.Repeat(frame(wire.FrameBody, 1, make([]byte, 2000)), 500)
	for name, tt := range map[string]struct {
		idle []byte
		size int
	}{
		"without one":                            {nil, maxBuffer},
		"behind one":                             {beat, minBuffer},
		"behind many":                            {bytes.Repeat(beat, 100), minBuffer},
		"behind one with some of the next frame": {append(beat[:len(beat):len(beat)], busy[:100]...), minBuffer},
		"behind one with more of it than the smallest size": {append(beat[:len(beat):len(beat)], busy[:minBuffer]...), maxBuffer},
		"behind one with a frame":                           {append(beat[:len(beat):len(beat)], busy[:2008]...), maxBuffer},
	} {
		in := inputOf(io.MultiReader(bytes.NewReader(busy), bytes.NewReader(tt.idle)))
		_, err := in.frames(131072)
		require.ErrorIs(t, err, io.EOF, name)
		require.Len(t, in.buf, tt.size, name)
	}

	// Then it grows as before.
	in := inputOf(bytes.NewReader(bytes.Join([][]byte{busy, beat, busy, beat, busy}, nil)))
	fs, err := in.frames(131072)
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, fs, 3*500+2)
	require.Len(t, in.buf, maxBuffer)
}

func TestInputGrowsWithTheTrafficAndShrinksAfterIt(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 20, 200, 3000, 20_000} {
		e := &endless{frame: frame(wire.FrameBody, 1, make([]byte, size))}
		in := inputOf(e)
		require.Len(t, in.buf, minBuffer)
		in.take(t, 1+(1<<20)/len(e.frame))
		require.Len(t, in.buf, maxBuffer, "frames of %d octets", size)
		e.reads, e.given = 0, 0
		in.take(t, 1+(1<<20)/len(e.frame))
		require.Greater(t, e.given/e.reads, maxBuffer/2, "octets a read for frames of %d", size)
		if size > 200 {
			continue
		}
		// From here on one frame comes at a time, as from a client that waits.
		e.most = len(e.frame)
		in.take(t, 20*maxSlack+maxBuffer)
		require.Len(t, in.buf, minBuffer, "frames of %d octets", size)
	}
}

func TestInputThatGrewForOneFrameShrinksAgain(t *testing.T) {
	t.Parallel()
	big := frame(wire.FrameBody, 1, make([]byte, 131072))
	small := &endless{frame: frame(wire.FrameHeartbeat, 0, nil), most: 8}
	in := inputOf(io.MultiReader(bytes.NewReader(big), small))
	in.take(t, 1)
	require.LessOrEqual(t, len(in.buf), 2*len(big))
	in.take(t, 20*maxSlack)
	require.Len(t, in.buf, minBuffer)
}

func TestInputMakesNoRoomForWhatIsOnlyAnnounced(t *testing.T) {
	t.Parallel()
	in := inputOf(io.MultiReader(bytes.NewReader([]byte{3, 0, 1, 0x7f, 255, 255, 255}), iotest.ErrReader(errors.New("silence"))))
	_, err := in.frames(0)
	require.EqualError(t, err, "silence")
	require.Len(t, in.buf, minBuffer)
	require.False(t, in.ended)
	// And while it comes, twice what has come at the most.
	in = inputOf(io.MultiReader(bytes.NewReader([]byte{3, 0, 1, 0x7f, 255, 255, 255}), bytes.NewReader(make([]byte, 1<<20))))
	_, err = in.frames(0)
	require.ErrorIs(t, err, io.EOF)
	require.LessOrEqual(t, len(in.buf), 2<<20+2*minBuffer)
}

func TestInputOfASocketThatGivesNothing(t *testing.T) {
	t.Parallel()
	in := inputOf(iotest.ErrReader(nil))
	_, err := in.frames(0)
	require.ErrorIs(t, err, io.ErrNoProgress)
}

func TestReadingFramesAllocatesNothing(t *testing.T) {
	e := &endless{frame: frame(wire.FrameBody, 1, make([]byte, 100))}
	in := inputOf(e)
	in.take(t, 10_000)
	require.Zero(t, testing.AllocsPerRun(100, func() { in.take(t, 100) }))
}
