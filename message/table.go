package message

// Table is an AMQP field table in the order it was written; duplicates are
// kept, and look-ups take the first match (contract 01 §5).
//
// The Go type of a value says which of RabbitMQ's tags it is written with:
//
//	bool t · int8 b · uint8 B · int16 s · uint16 u · int32 I · uint32 i ·
//	int64 l (also read from L) · float32 f · float64 d · Decimal D ·
//	string S · []byte x · time.Time T · Table F · []any A · nil V
//
// An int is written as I when it fits and as l otherwise.
type Table []Field

// Field is one entry of a Table.
type Field struct {
	Name  string
	Value any
}

// Decimal is a decimal value: Value / 10^Scale, both unsigned.
type Decimal struct {
	Scale uint8
	Value uint32
}

// Get gives the first value of that name.
func (t Table) Get(name string) (value any, ok bool) {
	for _, f := range t {
		if f.Name == name {
			return f.Value, true
		}
	}
	return nil, false
}
