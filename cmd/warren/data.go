package main

import (
	"os"
	"path/filepath"
	"runtime"
)

// noHome is the default of -data where no home directory is known. It is no path
// that anybody could mean.
const noHome = "\x00"

// defaultData is where a broker of this user keeps its data unless told otherwise:
// in the place that the system has for such.
func defaultData() string {
	if runtime.GOOS == "windows" {
		if dir := os.Getenv("LocalAppData"); dir != "" {
			return filepath.Join(dir, "warren")
		}
		return noHome
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) && runtime.GOOS != "darwin" {
		return filepath.Join(dir, "warren")
	}
	home, err := os.UserHomeDir()
	switch {
	case err != nil:
		return noHome
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support", "warren")
	}
	return filepath.Join(home, ".local", "share", "warren")
}
