// Command genwire makes the Go source of AMQP's methods from their description.
//
//	genwire methods.spec methods_gen.go
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: genwire SPEC OUTPUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "genwire:", err)
		os.Exit(1)
	}
}

func run(spec, output string) error {
	source, err := generateFile(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(output, source, 0o644)
}

func generateFile(spec string) ([]byte, error) {
	in, err := os.Open(spec)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	classes, err := parse(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec, err)
	}
	return generate(classes)
}
