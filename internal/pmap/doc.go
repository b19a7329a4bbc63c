// Package pmap holds persistent maps: a change gives a new map and leaves the
// old one as it was, and the two share all but the few nodes that differ. So
// a writer can prepare the next version while readers, without any lock, use
// the one before.
//
// Map is a hash trie; Ordered keeps its entries in the order they came and is
// fast to walk. All their values may be copied and read from any number of
// goroutines.
package pmap
