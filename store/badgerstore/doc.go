// Package badgerstore keeps a broker's state in a directory, by
// github.com/dgraph-io/badger. It is the only package of Warren that links
// badger: a program that wants a durable broker imports it and hands the store
// over, as a driver is handed to database/sql.
//
//	s, err := badgerstore.Open("data", badgerstore.Options{})
//	b, err := warren.New(warren.Options{Store: s})
//
// # What is on the disk
//
// Values of Options' threshold and more go to badger's value log, once; what is
// smaller lives in its tree of sorted tables. The file WARREN holds the version of
// the format. A directory belongs to one process at a time.
//
// # A full disk
//
// Badger writes through mapped memory. When a file system has no room for a page
// that was written so, the kernel ends the process (SIGBUS), and no Go code can
// prevent it. Apply therefore looks at the free space first and refuses with
// store.ErrNoSpace below a reserve that covers all badger may still write on its
// own; what only deletes passes a little longer, as it gives room back. Something
// else that fills the file system up to the last octet can still end the program.
//
// # Giving space back
//
// Badger drops what was deleted only when it is driven to. A goroutine of the
// store does so, after each half GiB that was written and when the store has been
// quiet for some seconds or room is short.
package badgerstore
