//go:build race

package auth_test

// underRace: sync.Pool, and so package regexp, allocates at random then.
const underRace = true
