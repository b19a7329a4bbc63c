// Package memstore is a store.Store in memory. It keeps nothing beyond the
// process, but it outlives a broker: what was written to a Disk is there when it
// is opened again, and a copy of it can be taken at any moment, as if the machine
// had stopped just then. That makes it the store for tests of everything above a
// store, and the reference that others are compared with.
package memstore
