package embedded

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskFS is the file system of the store. A test puts one that fails in its place.
var diskFS = vfs.Default

// logDisk is the file system under Pebble, which knows the log that Pebble writes.
//
// Pebble keeps what is committed without a sync in the process, where a crash of the process loses it. So every group
// is committed with one, and where the store syncs at an interval, it is the disk that puts the syncs of the log off:
// what was answered is with the operating system by then.
//
// The first write or sync in the data directory that fails stops the store, and nothing is written there any more.
// Pebble hears nothing of that: it would panic with a lock half released where it cannot begin a log, and repeat for
// ever what fails while it opens. So the directory stays as the failure found it, and Pebble can still be closed.
type logDisk struct {
	vfs.FS
	dir      string
	deferred bool // syncs of the log come with [logDisk.sync]
	marks    *marks
	failure  *failure // the store's

	mu  sync.Mutex
	log *logFile // that Pebble writes; nil: none yet
}

func newLogDisk(o Options, m *marks, f *failure) *logDisk {
	return &logDisk{FS: diskFS, dir: filepath.Clean(o.Dir), deferred: o.SyncInterval > 0, marks: m, failure: f}
}

// Unwrap implements [vfs.FS].
func (d *logDisk) Unwrap() vfs.FS { return d.FS }

// try writes, unless the store has stopped, and stops it if that fails.
func (d *logDisk) try(write func() error) {
	if d.failure.err() != nil {
		return
	}
	if err := write(); err != nil {
		d.failure.fail(err)
	}
}

// holds reports whether the path is that of a file of the data directory.
func (d *logDisk) holds(path string) bool { return filepath.Dir(path) == d.dir }

// Create implements [vfs.FS].
func (d *logDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.begin(name, func() (vfs.File, error) { return d.FS.Create(name, category) })
}

// ReuseForWrite implements [vfs.FS].
func (d *logDisk) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.begin(newName, func() (vfs.File, error) { return d.FS.ReuseForWrite(oldName, newName, category) })
}

// Remove implements [vfs.FS].
func (d *logDisk) Remove(name string) error {
	return d.change(name, func() error { return d.FS.Remove(name) })
}

// Link implements [vfs.FS].
func (d *logDisk) Link(oldName, newName string) error {
	return d.change(newName, func() error { return d.FS.Link(oldName, newName) })
}

// Rename implements [vfs.FS].
func (d *logDisk) Rename(oldName, newName string) error {
	return d.change(newName, func() error { return d.FS.Rename(oldName, newName) })
}

// change changes a name. Pebble hears only of one that is not there.
func (d *logDisk) change(name string, change func() error) (gone error) {
	if !d.holds(name) {
		return change()
	}
	d.try(func() error {
		err := change()
		if errors.Is(err, fs.ErrNotExist) {
			err, gone = nil, err
		}
		return err
	})
	return gone
}

// OpenDir implements [vfs.FS].
func (d *logDisk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil || filepath.Clean(name) != d.dir {
		return f, err
	}
	return &diskFile{f, d}, nil
}

// begin returns the file that Pebble writes from now on. Where none can be made, it goes nowhere.
func (d *logDisk) begin(path string, create func() (vfs.File, error)) (f vfs.File, err error) {
	if !d.holds(path) {
		return create()
	}
	d.try(func() error {
		f, err = create()
		return err
	})
	if f == nil {
		return vfs.NewMem().Create(filepath.Base(path), vfs.WriteCategoryUnspecified)
	}
	return d.written(filepath.Base(path), &diskFile{f, d}), nil
}

// written returns the file, as it is written if its name is that of a log or of a list of Pebble's files. How far these
// are synced is marked.
func (d *logDisk) written(name string, f *diskFile) vfs.File {
	_, isLog := numberOf(name)
	if isList(name) {
		d.syncDir()
		return &logFile{diskFile: f, name: name}
	}
	if !isLog {
		return f
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = &logFile{diskFile: f, name: name, deferred: d.deferred}
	return d.log
}

// syncDir makes the name of a list durable when the list begins. Pebble syncs it no sooner than the file that points to
// it, and of two such names a crash may keep the second one alone.
func (d *logDisk) syncDir() {
	d.try(func() error {
		dir, err := d.FS.OpenDir(d.dir)
		if err != nil {
			return err
		}
		defer dir.Close()
		return dir.Sync()
	})
}

// sync carries out the syncs of the log that were put off.
func (d *logDisk) sync() {
	d.mu.Lock()
	log := d.log
	d.mu.Unlock()
	if log != nil {
		log.sync()
	}
}
