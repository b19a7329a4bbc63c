package badgerstore

import (
	"io/fs"

	"golang.org/x/sys/windows"
)

// freeSpace tells how much room the caller has on dir's volume.
func freeSpace(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(free), nil
}

// occupied tells how long a file is: files are not sparse here.
func occupied(info fs.FileInfo) int64 { return info.Size() }
