package embedded

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// frailDisk is a disk in memory that goes down at one of its operations, or fails from one on. Operations that only
// read do not count.
type frailDisk struct {
	vfs.FS
	mem *vfs.MemFS
	ops atomic.Int64

	at   int64  // the number of the operation; 0: none
	down func() // is called before it

	fails  func(errorfs.Op) error // what operations from there on return
	failed atomic.Bool            // one has
}

// newFrailDisk returns a disk on which the directory is, or one that holds what another has left.
func newFrailDisk(t *testing.T, dir string, left *vfs.MemFS) *frailDisk {
	t.Helper()
	d := &frailDisk{mem: left}
	if left == nil {
		d.mem = vfs.NewCrashableMem()
		makeDurably(t, d.mem, dir)
	}
	d.FS = errorfs.Wrap(d.mem, errorfs.InjectorFunc(d.operation))
	return d
}

// ReuseForWrite implements [vfs.FS]. That of the disk in memory takes a lock twice, and a crash between the two would
// wait for ever.
func (d *frailDisk) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.Rename(from, to); err != nil {
		return nil, err
	}
	return d.OpenReadWrite(to, category)
}

func makeDurably(t *testing.T, mem *vfs.MemFS, dir string) {
	t.Helper()
	err := mem.MkdirAll(dir, 0o700)
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		var parent vfs.File
		if parent, err = mem.OpenDir(filepath.Dir(dir)); err == nil {
			err = errors.Join(parent.Sync(), parent.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (d *frailDisk) operation(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpLock {
		return nil
	}
	n := d.ops.Add(1)
	if n == d.at && d.down != nil {
		d.down()
	}
	if d.fails == nil || n < d.at {
		return nil
	}
	err := d.fails(op)
	if err != nil {
		d.failed.Store(true)
	}
	return err
}

// full is the error of an operation on a disk without room.
func full(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll,
		errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate:
		return syscall.ENOSPC
	}
	return nil
}

// broken is the error of every operation on a disk that can only be read.
func broken(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileClose {
		return nil
	}
	return syscall.EIO
}

// remains is a way in which a disk is found when the machine has gone down.
type remains struct {
	unsynced int  // percent of the blocks and names that were not synced and are there all the same
	torn     bool // the last write of each file is there in part
}

var allRemains = []remains{{0, false}, {50, false}, {100, false}, {100, true}}

// of returns the disk as it is found.
func (r remains) of(t *testing.T, d *frailDisk, dir string, seed uint64) *vfs.MemFS {
	clone := func(percent int) *vfs.MemFS {
		return d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 0))})
	}
	found := clone(r.unsynced)
	if r.torn { // what is synced a moment later may be more, and is left alone then
		tear(t, found, clone(0), dir, rand.New(rand.NewPCG(seed, 1)))
	}
	return found
}

// tear cuts each file somewhere behind what was synced of it.
func tear(t *testing.T, found, synced *vfs.MemFS, dir string, random *rand.Rand) {
	names, err := synced.List(dir)
	if err != nil {
		t.Error(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		kept, err := synced.UnsafeGetFileDataBuffer(path)
		whole, gone := found.UnsafeGetFileDataBuffer(path)
		if more := len(whole) - len(kept); err == nil && gone == nil && more > 0 {
			writeDurably(t, found, path, whole[:len(kept)+random.IntN(more+1)])
		}
	}
}

func writeDurably(t *testing.T, mem *vfs.MemFS, path string, text []byte) {
	f, err := mem.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	dir, opened := mem.OpenDir(filepath.Dir(path))
	if err = errors.Join(err, opened); err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		t.Error(err)
	}
}
