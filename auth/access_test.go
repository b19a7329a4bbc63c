package auth_test

import (
	"fmt"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/auth"
)

func TestAChangeCountsAtOnce(t *testing.T) {
	t.Parallel()
	topic := func(write string) auth.TopicPermission {
		return auth.TopicPermission{User: "u", VHost: "/", Exchange: "x", Write: write, Read: write}
	}
	tests := []struct {
		name       string
		change     func(t *testing.T, r *auth.Registry)
		may, topic bool
	}{
		{"nothing", func(*testing.T, *auth.Registry) {}, true, true},
		{"another pattern", func(t *testing.T, r *auth.Registry) { allow(t, r, "^other$") }, false, true},
		{"permissions cleared", func(t *testing.T, r *auth.Registry) { cleared(t, true)(r.ClearPermissions("u", "/")) }, false, false},
		{"cleared and set again", func(t *testing.T, r *auth.Registry) {
			cleared(t, true)(r.ClearPermissions("u", "/"))
			allow(t, r, ".*")
		}, true, true},
		{"user deleted", func(t *testing.T, r *auth.Registry) { require.NoError(t, r.DeleteUser("u")) }, false, false},
		{"vhost deleted", func(_ *testing.T, r *auth.Registry) { r.DeleteVHost("/") }, false, false},
		{"topic limited", func(t *testing.T, r *auth.Registry) { require.NoError(t, r.SetTopicPermissions(topic("^other"))) }, true, false},
		{"topic free", func(t *testing.T, r *auth.Registry) { cleared(t, true)(r.ClearTopicPermissions("u", "/")) }, true, true},
		{"another vhost", func(t *testing.T, r *auth.Registry) {
			require.NoError(t, r.SetPermissions(auth.Permission{User: "u", VHost: "other"}))
			r.DeleteVHost("other")
		}, true, true},
		{"password and tags", func(t *testing.T, r *auth.Registry) {
			require.NoError(t, r.ChangePassword("u", "new"))
			require.NoError(t, r.SetTags("u", "x"))
		}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := registry(t)
			allow(t, r, "^q$")
			require.NoError(t, r.SetTopicPermissions(topic("^k$")))
			a := access(t, r)
			require.True(t, a.Write("q") && a.Read("q") && a.Configure("q"))
			require.True(t, a.WriteTopic("x", "k") && a.ReadTopic("x", "k"))
			before := a.Generation()
			tt.change(t, r)
			require.Equal(t, []bool{tt.may, tt.may, tt.may}, []bool{a.Write("q"), a.Read("q"), a.Configure("q")})
			require.Equal(t, []bool{tt.topic, tt.topic}, []bool{a.WriteTopic("x", "k"), a.ReadTopic("x", "k")})
			if !tt.may || !tt.topic {
				require.Greater(t, a.Generation(), before)
			}
			require.Equal(t, r.Generation(), a.Generation())
		})
	}
}

func TestAnAccessKnowsWhoseItIs(t *testing.T) {
	t.Parallel()
	r := registry(t)
	allow(t, r, ".*")
	a := access(t, r)
	require.Equal(t, "u", a.User())
	require.Equal(t, "/", a.VHost())
}

// Many more names than are remembered, in an order that makes each be forgotten
// and remembered again.
func TestForgettingASuccessChangesNoAnswer(t *testing.T) {
	t.Parallel()
	r := registry(t)
	allow(t, r, "^[a-m]")
	require.NoError(t, r.SetTopicPermissions(auth.TopicPermission{User: "u", VHost: "/", Exchange: "x", Write: "^[a-m]", Read: "^[g-z]"}))
	a := access(t, r)
	for round := range 50 {
		for c := 'a'; c <= 'z'; c++ {
			name := fmt.Sprintf("%c%d", c, round%3)
			require.Equal(t, c <= 'm', a.Write(name), name)
			require.Equal(t, c <= 'm', a.WriteTopic("x", name), name)
			require.Equal(t, c >= 'g', a.ReadTopic("x", name), name)
			require.Equal(t, c <= 'm', a.Read(name), name)
		}
	}
}

func TestChecksAllocateNothing(t *testing.T) {
	r := registry(t)
	allow(t, r, "^q")
	require.NoError(t, r.SetTopicPermissions(auth.TopicPermission{User: "u", VHost: "/", Exchange: "x", Write: "^k"}))
	a := access(t, r)
	var queues, keys []string
	for i := range 40 {
		queues = append(queues, fmt.Sprintf("q%d", i))
		keys = append(keys, fmt.Sprintf("k%d", i))
	}
	checks := func(n int) func() {
		return func() {
			for i := range n {
				if !a.Write(queues[i]) || !a.WriteTopic("x", keys[i]) {
					t.Error("refused")
				}
			}
		}
	}
	checks(40)()
	checks(10)()
	require.Zero(t, testing.AllocsPerRun(100, checks(10)), "remembered")
	if underRace {
		t.Skip("package regexp allocates under the race detector")
	}
	require.Zero(t, testing.AllocsPerRun(100, checks(40)), "more than can be remembered")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if a.Write("x") || a.WriteTopic("x", "z") {
			t.Error("allowed")
		}
	}), "refused")
}

// The name a channel asks for may lie in a buffer that is used again.
func TestWhatIsRememberedIsACopy(t *testing.T) {
	t.Parallel()
	r := registry(t)
	allow(t, r, "^q")
	a := access(t, r)
	buffer := []byte("queue")
	require.True(t, a.Write(unsafe.String(&buffer[0], len(buffer))))
	copy(buffer, "xxxxx")
	require.False(t, a.Write("xxxxx"))
	require.True(t, a.Write("queue"))
}

func TestChecksDuringChanges(t *testing.T) {
	t.Parallel()
	r := registry(t)
	allow(t, r, "^[ab]$")
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 50 {
				a, ok := r.Access("u", "/")
				if !ok {
					continue
				}
				for range 50 {
					// Never is c allowed, whatever the moment.
					if a.Write("a"); a.Write("c") || a.Read("c") {
						t.Error("c was allowed")
					}
					a.WriteTopic("x", "k")
				}
			}
		})
	}
	running.Go(func() {
		for i := range 300 {
			switch i % 6 {
			case 0:
				allow(t, r, "^a$")
			case 1:
				if _, err := r.ClearPermissions("u", "/"); err != nil {
					t.Error(err)
				}
			case 2:
				allow(t, r, "^[ab]$")
			case 3:
				if err := r.SetTopicPermissions(auth.TopicPermission{User: "u", VHost: "/", Exchange: "x"}); err != nil {
					t.Error(err)
				}
			case 4:
				if _, err := r.ClearTopicPermissions("u", "/"); err != nil {
					t.Error(err)
				}
			case 5:
				r.ListPermissions()
				r.Users()
				if err := r.SetTags("u", "x"); err != nil {
					t.Error(err)
				}
			}
		}
	})
	running.Wait()
}

func BenchmarkWrite(b *testing.B) {
	for _, pattern := range []string{".*", "^(orders|events)\\.[a-z]+$"} {
		b.Run(pattern, func(b *testing.B) {
			r := registry(b)
			allow(b, r, pattern)
			a := access(b, r)
			b.ReportAllocs()
			for b.Loop() {
				if !a.Write("orders.eu") {
					b.Fatal("refused")
				}
			}
		})
	}
}
