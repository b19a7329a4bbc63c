// Package storetest holds the tests that every store.Store passes, and a store
// that fails on demand.
//
// An implementation shows itself to Run as a Medium, which can be opened again
// after it was closed, and, if it can give one, an image of what a crash would
// have left (Crasher).
package storetest
