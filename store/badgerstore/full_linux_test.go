package badgerstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store"
	"github.com/warrenmq/warren/store/badgerstore"
)

// smallDisk names, for the child of TestAFullDiskDoesNotEndTheProcess, the directory
// that it is to put a small file system on.
const smallDisk = "WARREN_TEST_SMALL_DISK"

// Badger writes to mapped files, so that a file system without room ends the process
// (SIGBUS). That is why a child process does the filling. It has a mount namespace
// of its own, and the file system goes with it.
func TestAFullDiskDoesNotEndTheProcess(t *testing.T) {
	if dir := os.Getenv(smallDisk); dir != "" {
		fillSmallDisk(t, dir)
		return
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this process may not mount a file system, not even in a namespace of its own")
	}
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

// fillSmallDisk fills a file system until the store refuses, gives room back as a
// broker's consumers do, and begins again.
func fillSmallDisk(t *testing.T, dir string) {
	require.NoError(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256m"))
	// The maintenance is always at it: the reserve must be enough for that, too.
	s, err := badgerstore.OpenPaced(dir, badgerstore.Options{}, 10*time.Millisecond, 16*mib, 5)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()

	least := int64(1 << 40)
	apply := func(changes ...store.Change) error {
		err := s.Apply(changes)
		sp, spaceErr := s.Space()
		require.NoError(t, spaceErr)
		least = min(least, sp.Free)
		return err
	}
	random := rand.NewChaCha8([32]byte{4})
	first, next := 0, 0
	for range usuallyOr(2, 10) {
		// Messages in packs of several sizes, until there is no room.
		for {
			value := make([]byte, 1+next*7919%mib)
			_, _ = random.Read(value)
			err := apply(store.Change{Key: key(next), Value: value}, store.Change{Key: []byte(fmt.Sprint("index", next)), Value: value[:min(len(value), 300)]})
			if err != nil {
				require.ErrorIs(t, err, store.ErrNoSpace)
				break
			}
			next++
		}
		sp, err := s.Space()
		require.NoError(t, err)
		t.Logf("full with %d packs: %d MiB free of a reserve of %d MiB", next-first, sp.Free/mib, sp.Reserve/mib)
		// Notes of what was removed, and then the packs themselves.
		for i := range 2000 {
			err := apply(store.Change{Key: []byte(fmt.Sprint("state", i%50)), Value: make([]byte, 500), Shrinks: true})
			if err != nil {
				require.ErrorIs(t, err, store.ErrNoSpace)
				break
			}
		}
		for ; first < next-2; first++ {
			require.Eventually(t, func() bool {
				err := apply(store.Change{Key: key(first), Delete: true}, store.Change{Key: []byte(fmt.Sprint("index", first)), Delete: true})
				if err != nil {
					require.ErrorIs(t, err, store.ErrNoSpace)
				}
				return err == nil
			}, time.Minute, 10*time.Millisecond, "what gives room back must pass in the end")
		}
		require.Eventually(t, func() bool {
			sp, err := s.Space()
			return err == nil && sp.Free > sp.Reserve+40*mib
		}, time.Minute, 20*time.Millisecond, "the room must come back")
	}
	_, err = s.Verify()
	require.NoError(t, err)
	t.Logf("at the least %d MiB were free", least/mib)
	require.Greater(t, least, int64(8*mib))
}
