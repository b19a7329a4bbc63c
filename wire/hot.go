package wire

import (
	"encoding/binary"
	"math"
)

// The functions of this file write whole method frames for what a server sends
// once a message, without an interface and without an allocation of their own.
// Names longer than a shortstr, which no broker has, are cut to 255 octets, so
// that the frame is well formed in any case.

// AppendDeliver appends a frame with basic.deliver.
func AppendDeliver(dst []byte, channel uint16, consumerTag string, deliveryTag uint64, redelivered bool, exchange, routingKey string) []byte {
	dst, start := beginMethod(dst, channel, BasicDeliverID)
	dst = appendShort(dst, consumerTag)
	dst = binary.BigEndian.AppendUint64(dst, deliveryTag)
	dst = append(dst, bit(redelivered))
	dst = appendShort(dst, exchange)
	dst = appendShort(dst, routingKey)
	return endFrame(dst, start)
}

// AppendGetOK appends a frame with basic.get-ok.
func AppendGetOK(dst []byte, channel uint16, deliveryTag uint64, redelivered bool, exchange, routingKey string, messageCount uint32) []byte {
	dst, start := beginMethod(dst, channel, BasicGetOKID)
	dst = binary.BigEndian.AppendUint64(dst, deliveryTag)
	dst = append(dst, bit(redelivered))
	dst = appendShort(dst, exchange)
	dst = appendShort(dst, routingKey)
	dst = binary.BigEndian.AppendUint32(dst, messageCount)
	return endFrame(dst, start)
}

// AppendReturn appends a frame with basic.return.
func AppendReturn(dst []byte, channel, replyCode uint16, replyText, exchange, routingKey string) []byte {
	dst, start := beginMethod(dst, channel, BasicReturnID)
	dst = binary.BigEndian.AppendUint16(dst, replyCode)
	dst = appendShort(dst, replyText)
	dst = appendShort(dst, exchange)
	dst = appendShort(dst, routingKey)
	return endFrame(dst, start)
}

// AppendAck appends a frame with basic.ack, a publisher confirm.
func AppendAck(dst []byte, channel uint16, deliveryTag uint64, multiple bool) []byte {
	dst, start := beginMethod(dst, channel, BasicAckID)
	dst = binary.BigEndian.AppendUint64(dst, deliveryTag)
	return endFrame(append(dst, bit(multiple)), start)
}

// AppendNack appends a frame with basic.nack, a negative publisher confirm. Its
// requeue bit is set as in every nack that RabbitMQ sends; it means nothing to
// a publisher (contract 06 §6).
func AppendNack(dst []byte, channel uint16, deliveryTag uint64, multiple bool) []byte {
	const requeue = 1 << 1
	dst, start := beginMethod(dst, channel, BasicNackID)
	dst = binary.BigEndian.AppendUint64(dst, deliveryTag)
	return endFrame(append(dst, bit(multiple)|requeue), start)
}

// beginMethod appends a method frame up to the arguments. start is where it
// begins, for endFrame.
func beginMethod(dst []byte, channel uint16, id ID) (out []byte, start int) {
	start = len(dst)
	out = AppendFrameHeader(dst, FrameMethod, channel, 0)
	return binary.BigEndian.AppendUint32(out, uint32(id)), start
}

func appendShort(dst []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint8)]
	dst = append(dst, uint8(len(s)))
	return append(dst, s...)
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
