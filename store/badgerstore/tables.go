package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/dgraph-io/ristretto/v2/z"
)

// checkAll is up to how many octets of tables Open reads to verify their
// checksums; of more it verifies the indexes.
const checkAll = 1 << 30

// checkTables verifies the tables before badger opens them: badger leaves a table
// with a wrong checksum out and goes on without it.
func checkTables(dir string, o badger.Options) error {
	manifest, err := readManifest(dir, o)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	keys, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: dir, ReadOnly: true, EncryptionKey: o.EncryptionKey})
	if errors.Is(err, badger.ErrEncryptionKeyMismatch) {
		return wrongKey(dir, err)
	}
	if err != nil {
		return &DamagedError{Path: filepath.Join(dir, badger.KeyRegistryFileName), Cause: err, Remedy: "restore a backup"}
	}
	indexes, err := indexCache(o.EncryptionKey)
	if err != nil {
		return errors.Join(fmt.Errorf("badgerstore: %w", err), keys.Close())
	}
	defer indexes.Close()
	mode := options.OnTableRead
	if tableBytes(dir, manifest) > checkAll {
		mode = options.NoVerification
	}
	for id, m := range manifest.Tables {
		path := table.NewFilename(id, dir)
		key, err := keys.DataKey(m.KeyID)
		if err == nil {
			err = checkTable(path, table.Options{
				ReadOnly: true, BlockSize: o.BlockSize, Compression: m.Compression, DataKey: key, ChkMode: mode, IndexCache: indexes,
			})
		}
		if err != nil {
			return &DamagedError{Path: path, Cause: err, Remedy: "restore a backup"}
		}
	}
	return keys.Close()
}

// indexCache gives the cache without which badger does not open an encrypted table.
// Without encryption it is nil, which may be closed as well.
func indexCache(key []byte) (*ristretto.Cache[uint64, *fb.TableIndex], error) {
	if len(key) == 0 {
		return nil, nil
	}
	return ristretto.NewCache(&ristretto.Config[uint64, *fb.TableIndex]{NumCounters: 1000, MaxCost: mib, BufferItems: 64})
}

// readManifest gives the list of tables.
func readManifest(dir string, o badger.Options) (badger.Manifest, error) {
	path := filepath.Join(dir, badger.ManifestFilename)
	f, err := os.Open(path)
	if err != nil {
		return badger.Manifest{}, err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return manifest, &DamagedError{Path: path, Cause: err, Remedy: "restore a backup"}
	}
	return manifest, nil
}

// checkTable opens one table and closes it again. Badger panics on some damage.
func checkTable(path string, o table.Options) (err error) {
	file, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its index cannot be read: %v", p)
		}
	}()
	t, err := table.OpenTable(file, o)
	if err != nil {
		return err
	}
	return t.Close(-1)
}

// tableBytes sums the tables up. What cannot be read counts nothing: opening it
// will tell.
func tableBytes(dir string, manifest badger.Manifest) int64 {
	var n int64
	for id := range manifest.Tables {
		if info, err := os.Stat(table.NewFilename(id, dir)); err == nil {
			n += info.Size()
		}
	}
	return n
}

func wrongKey(dir string, cause error) error {
	return &OpenError{
		Path: dir, Reason: "it was written with another encryption key, or with none", Cause: cause,
		Remedy: "open it with the Options.EncryptionKey it was made with",
	}
}
