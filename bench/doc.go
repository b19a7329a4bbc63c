// Package bench compares Warren inside a program with what else a Go program
// might use there: a Go channel, and an embedded nats-server with its in-process
// connection. It is a module of its own, so that Warren's go.mod stays clean.
//
//	cd bench && go test -bench . -benchmem
//
// Compare ratios of one run only: absolute figures move with the machine.
package bench
