package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
)

func testReopen(t *testing.T, b *bench) {
	for i := range 6 {
		b.apply(set("counter", fmt.Sprint(i)), set(fmt.Sprintf("k%02d", i), "v"), del(fmt.Sprintf("k%02d", i-3)))
		b.reopen()
		b.requireValue("counter", fmt.Sprint(i))
	}
	require.Equal(t, []string{"counter", "k03", "k04", "k05"}, b.keys("", ""))
}

// testCrash takes an image after each of some batches and looks at all of them.
func testCrash(t *testing.T, b *bench) {
	crasher, ok := b.medium.(Crasher)
	if !ok {
		return
	}
	large := string(bytes.Repeat([]byte("x"), 300_000))
	var images []Medium
	for i := range 5 {
		b.apply(set("counter", fmt.Sprint(i)), set(fmt.Sprintf("k%d", i), large), del(fmt.Sprintf("k%d", i-2)))
		images = append(images, crasher.Crash(t))
	}
	b.close()
	for i, image := range images {
		after := &bench{t: t, medium: image}
		after.open()
		want := []entry{{"counter", fmt.Sprint(i)}, {fmt.Sprintf("k%d", i), large}}
		if i > 0 {
			want = slices.Insert(want, 1, entry{fmt.Sprintf("k%d", i-1), large})
		}
		require.Equal(t, want, after.all("", ""))
		after.apply(set("again", "works"))
		after.reopen()
		after.requireValue("again", "works")
		after.close()
	}
}

func testLimits(t *testing.T, b *bench) {
	limits := b.Limits()
	require.Positive(t, limits.MaxBytes)
	require.Positive(t, limits.MaxChanges)
	require.Equal(t, limits, b.Limits())

	// One value of everything there is.
	whole := []store.Change{{Key: []byte("whole"), Value: make([]byte, limits.MaxBytes-5)}}
	b.apply(whole...)
	// As many changes as there may be, which together are of all the octets
	// there may be.
	const key = 8
	each := min(limits.MaxBytes/int64(limits.MaxChanges)-key, 1<<20)
	changes := make([]store.Change, limits.MaxChanges)
	for i := range changes {
		changes[i] = store.Change{Key: fmt.Appendf(nil, "%08d", i), Value: make([]byte, max(each, 0))}
	}
	b.apply(changes...)
	// Fewer and larger values, at several sizes between the two.
	for _, size := range []int64{500, 1000, 4000, 16000, 100_000, 1 << 20} {
		n := min(int(limits.MaxBytes/(size+key)), limits.MaxChanges)
		for i := range n {
			changes[i].Value = make([]byte, size)
		}
		b.apply(changes[:n]...)
	}
	count := len(b.keys("", ""))
	require.Equal(t, limits.MaxChanges+1, count)

	over := append(slices.Clone(changes), set("one more", ""))
	for i := range over {
		over[i].Value = nil
	}
	require.Error(t, b.Apply(over))
	b.reopen()
	require.Len(t, b.keys("", ""), count)
	require.Error(t, b.Apply([]store.Change{{Key: []byte("over"), Value: make([]byte, limits.MaxBytes)}}))
	b.reopen()
	require.Len(t, b.keys("", ""), count)
}

// testModel carries random batches out on the store and on a map, and closes
// and opens the store at random.
func testModel(t *testing.T, b *bench) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	model := map[string]string{}
	key := func() string { return fmt.Sprintf("k%03d", r.IntN(200)) }
	for range 200 {
		switch n := r.IntN(100); {
		case n < 70:
			changes := make([]store.Change, r.IntN(8))
			for i := range changes {
				if k := key(); r.IntN(3) == 0 {
					changes[i] = del(k)
					delete(model, k)
				} else {
					v := string(bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(1<<r.IntN(16))))
					changes[i] = set(k, v)
					model[k] = v
				}
			}
			b.apply(changes...)
		case n < 80:
			k := key()
			got, ok := b.value(k)
			want, wantOK := model[k]
			require.Equal(t, wantOK, ok, "presence of %q", k)
			require.Equal(t, want, got)
		case n < 95:
			from, to := key(), key()
			require.Equal(t, inRange(model, from, to), b.all(from, to))
		case n < 98:
			b.reopen()
		default:
			crasher, ok := b.medium.(Crasher)
			if !ok {
				continue
			}
			image := crasher.Crash(t)
			b.close()
			b.medium = image
			b.open()
		}
	}
	require.Equal(t, inRange(model, "", "\xff"), b.all("", ""))
}

// inRange gives the entries of a model from from up to to, in order.
func inRange(model map[string]string, from, to string) []entry {
	var out []entry
	for k, v := range model {
		if k >= from && k < to {
			out = append(out, entry{k, v})
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return bytes.Compare([]byte(a.key), []byte(b.key)) })
	return out
}
