package transport_test

import (
	"fmt"
	"io"
	"log"

	"github.com/warrenmq/warren/transport"
)

func ExamplePipe() {
	client, server := transport.Pipe()
	// Nobody reads yet: what is written waits in the pipe.
	if _, err := io.WriteString(client, "hello"); err != nil {
		log.Fatal(err)
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(server)
	fmt.Printf("%s from %s, %v\n", text, server.RemoteAddr(), err)
	// Output: hello from client, <nil>
}
