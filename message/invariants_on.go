//go:build invariants

package message

import "fmt"

// released checks the balance of references and mangles the buffer, so that a
// reader without a reference is found out.
func released(m *Message, refs int32) {
	if refs < 0 {
		panic(fmt.Sprintf("message: released more often than retained (%d)", refs))
	}
	if m.pinned {
		return
	}
	b := m.buf[:cap(m.buf)]
	for i := range b {
		b[i] = 0xDB
	}
}
