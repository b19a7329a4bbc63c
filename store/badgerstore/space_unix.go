//go:build linux || darwin || freebsd

package badgerstore

import (
	"io/fs"
	"syscall"
)

// freeSpace tells how much room a user who is not root has in dir's file system.
func freeSpace(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}

// occupied tells how much of the disk a file occupies.
func occupied(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return info.Size()
}
