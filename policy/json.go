package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/warrenmq/warren/message"
)

// ParseDefinition reads a definition from a JSON object, as RabbitMQ's tools have it.
// Whole numbers become an int64, others a float64; of a key that is there twice the
// last value counts. Whether the definition makes sense Compile says.
func ParseDefinition(object []byte) (message.Table, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("policy definition: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("policy definition: there is something behind the JSON object")
	}
	t, err := tableOf(m)
	if err != nil {
		return nil, fmt.Errorf("policy definition: %w", err)
	}
	return t, nil
}

func tableOf(m map[string]any) (message.Table, error) {
	t := make(message.Table, 0, len(m))
	for name, v := range m {
		v, err := valueOf(v)
		if err != nil {
			return nil, err
		}
		t = append(t, message.Field{Name: name, Value: v})
	}
	return normal(t), nil
}

func valueOf(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case map[string]any:
		return tableOf(v)
	case []any:
		list := make([]any, 0, len(v))
		for _, e := range v {
			e, err := valueOf(e)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	}
	return v, nil
}
