package amqp091

import (
	"reflect"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

func TestDeferredConfirmationIsAsKnown(t *testing.T) {
	t.Parallel()
	require.NoError(t, checkDeferred())
	for _, ack := range []bool{false, true} {
		d := newDeferred(7)
		require.EqualValues(t, 7, d.DeliveryTag)
		select {
		case <-d.Done():
			require.Fail(t, "resolved before its time")
		default:
		}
		resolve(d, ack)
		require.Equal(t, ack, d.Wait())
		require.Equal(t, ack, d.Acked())
	}
}

func TestAnotherLayoutIsRefused(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]any{
		"name": struct {
			DeliveryTag uint64
			ready       chan struct{}
			ack         bool
		}{},
		"type": struct {
			DeliveryTag uint64
			done        chan bool
			ack         bool
		}{},
		"order": struct {
			done        chan struct{}
			DeliveryTag uint64
			ack         bool
		}{},
		"more": struct {
			DeliveryTag uint64
			done        chan struct{}
			ack, nack   bool
		}{},
		"fewer": struct{ DeliveryTag uint64 }{},
	} {
		require.ErrorContains(t, sameLayout(reflect.TypeOf(other), reflect.TypeFor[deferredLayout]()), "other fields", name)
	}
	require.Error(t, sameLayout(reflect.TypeFor[amqp.Confirmation](), reflect.TypeFor[deferredLayout]()))
}

func FuzzTablesConvertThereAndBack(f *testing.F) {
	f.Add("k", "v", []byte("b"), int64(1), uint32(2), 0.5, true)
	f.Fuzz(func(t *testing.T, name, s string, b []byte, i int64, u uint32, x float64, yes bool) {
		if len(name) > maxShort {
			_, err := tableFrom(amqp.Table{name: s})
			require.Error(t, err)
			return
		}
		in := amqp.Table{
			name: s, name + "2": append([]byte{}, b...), "i": i, "u": u, "x": x, "yes": yes, "nil": nil,
			"i8": int8(i), "i16": int16(i), "i32": int32(i), "u8": byte(u), "u16": uint16(u), "f": float32(x),
			"d":    amqp.Decimal{Scale: byte(u), Value: int32(i)},
			"list": []any{s, i, amqp.Table{name: u}},
			"in":   amqp.Table{"in": amqp.Table{}},
		}
		if len(name)+1 > maxShort {
			delete(in, name+"2")
		}
		table, err := tableFrom(in)
		require.NoError(t, err)
		if decodable(table) == nil { // x is a number
			require.Equal(t, in, tableTo(table))
		}
	})
}
