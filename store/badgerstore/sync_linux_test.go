package badgerstore_test

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenmq/warren/store/badgerstore"
)

// dirty gives how much of the logs in a directory that are mapped into this process is
// not on the disk yet, in KiB, as the kernel tells. What else badger maps are tables,
// which are finished, and its statistics of what is dead.
func dirty(t *testing.T, dir string) (kib int) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skipf("the kernel does not tell: %v", err)
	}
	ours := false
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) > 0 && !strings.HasSuffix(f[0], ":"): // the first line of a mapping
			ours = len(f) > 5 && filepath.Dir(f[5]) == dir && slices.Contains([]string{".mem", ".vlog"}, filepath.Ext(f[5]))
		case ours && (f[0] == "Shared_Dirty:" || f[0] == "Private_Dirty:"):
			n, err := strconv.Atoi(f[1])
			require.NoError(t, err)
			kib += n
		}
	}
	return kib
}

// A kill of the process does not show whether anything was synced, as the kernel has it
// all the same; so this asks the kernel.
func TestApplyReturnsWhenTheDiskHasIt(t *testing.T) {
	t.Parallel()
	unsafely, safely := t.TempDir(), t.TempDir()
	other, s := open(t, unsafely, badgerstore.Options{Unsafe: true}), open(t, safely, badgerstore.Options{})
	for range 20 {
		for _, size := range []int{100, 100_000} { // for badger's tree, and for its value log
			value := strings.Repeat("x", size)
			require.NoError(t, other.Apply(set("a", value)))
			require.NoError(t, s.Apply(set("a", value)))
			if dirty(t, unsafely) == 0 {
				t.Skip("the kernel does not tell what is not on the disk")
			}
			require.Zero(t, dirty(t, safely), "KiB of a value of %d octets are not on the disk", size)
		}
	}
}
