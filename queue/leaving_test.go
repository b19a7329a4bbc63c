package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/message"
)

// leaver is a Sink that notes in one list with the queue when it is told what.
type leaver struct {
	id    message.ConsumerID
	name  string
	heard *[]string
}

func (l *leaver) Deliver(ds []Delivery) {
	for i := range ds {
		ds[i].Msg.Release()
	}
}

func (l *leaver) Cancelled() { *l.heard = append(*l.heard, l.name+" cancelled") }
func (l *leaver) Left()      { *l.heard = append(*l.heard, l.name+" left") }

func TestASinkHearsOnceThatItsConsumerIsGone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  func(t *testing.T, h *Host, l *leaver)
		want []string
	}{
		"cancelled": {func(_ *testing.T, h *Host, l *leaver) { h.Cancel(l.id); h.Cancel(l.id) }, []string{"a left"}},
		"deleted": {func(t *testing.T, h *Host, l *leaver) {
			require.NoError(t, h.Delete(false, false, func(int) {}))
			h.Cancel(l.id)
		}, []string{"a left", "gone", "a cancelled"}},
		"refused another": {func(t *testing.T, h *Host, l *leaver) {
			other := &leaver{name: "b", heard: l.heard}
			require.ErrorIs(t, h.Consume(Consumer{Exclusive: true}, other, func(message.ConsumerID) {}, func() {}), ErrExclusiveUse)
			h.Cancel(l.id)
		}, []string{"a left"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var heard []string
			h, err := NewHost(Classic(), Spec{Name: "q", Type: "classic"}, HostEnv{
				Go:   func(f func()) bool { f(); return true },
				Gone: func(*Host, error) { heard = append(heard, "gone") },
			})
			require.NoError(t, err)
			l := &leaver{name: "a", heard: &heard}
			require.NoError(t, h.Consume(Consumer{}, l, func(id message.ConsumerID) { l.id = id }, func() {}))
			tc.end(t, h, l)
			require.Equal(t, tc.want, heard)
		})
	}
}

func TestASinkHearsThatAQueueWentWithItsLastConsumer(t *testing.T) {
	t.Parallel()
	var heard []string
	h, err := NewHost(Classic(), Spec{Name: "q", Type: "classic", AutoDelete: true}, HostEnv{
		Go:   func(f func()) bool { f(); return true },
		Gone: func(*Host, error) { heard = append(heard, "gone") },
	})
	require.NoError(t, err)
	l := &leaver{name: "a", heard: &heard}
	require.NoError(t, h.Consume(Consumer{}, l, func(id message.ConsumerID) { l.id = id }, func() {}))
	h.Cancel(l.id)
	require.Equal(t, []string{"a left", "gone"}, heard)
}
