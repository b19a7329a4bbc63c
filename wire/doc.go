// Package wire is the codec of AMQP 0-9-1 as RabbitMQ speaks it: frames,
// content headers and every method with its arguments (contract 01). It does no
// I/O and keeps no state; all functions may be called from any goroutine.
//
// The methods are described in methods.spec, from which go generate makes
// methods_gen.go. Field tables and properties are in package message.
//
// What is decoded aliases the input where a doc comment says so, and the caller
// decides how long the input lives. Decoding is exact: octets that are missing
// or left over are an error.
package wire

//go:generate go run ./internal/genwire methods.spec methods_gen.go
