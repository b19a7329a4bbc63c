//go:build race

package queue

// raceEnabled says that sync.Pool forgets at random, so that allocations cannot
// be counted.
const raceEnabled = true
