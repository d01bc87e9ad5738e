package embedded

import (
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskFS is the file system of the store. A test puts one that fails in its place.
var diskFS = vfs.Default

// logDisk is the file system under Pebble, which knows the log that Pebble writes.
//
// Pebble keeps what is committed without a sync in the process, where a crash of the process loses it. So every group
// is committed with one, and where the store syncs at an interval, it is the disk that puts the syncs of the log off:
// what was answered is with the operating system by then.
type logDisk struct {
	vfs.FS
	dir      string
	deferred bool // syncs of the log come with [logDisk.sync]
	marks    *marks

	mu  sync.Mutex
	log *logFile // that Pebble writes; nil: none yet
}

func newLogDisk(o Options, m *marks) *logDisk {
	return &logDisk{FS: diskFS, dir: filepath.Clean(o.Dir), deferred: o.SyncInterval > 0, marks: m}
}

// Unwrap implements [vfs.FS].
func (d *logDisk) Unwrap() vfs.FS { return d.FS }

// Create implements [vfs.FS].
func (d *logDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, category)
	return d.written(name, f, err)
}

// ReuseForWrite implements [vfs.FS].
func (d *logDisk) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(oldName, newName, category)
	return d.written(newName, f, err)
}

// written returns the file, which is the log from now on if its name is that of one. How far the log and Pebble's list
// of its files are synced is marked.
func (d *logDisk) written(path string, f vfs.File, err error) (vfs.File, error) {
	name := filepath.Base(path)
	_, isLog := numberOf(name)
	if err != nil || filepath.Dir(path) != d.dir || !isLog && !isList(name) {
		return f, err
	}
	file := &logFile{File: f, name: name, deferred: d.deferred && isLog, marks: d.marks}
	if isLog {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.log = file
	}
	return file, nil
}

// sync carries out the syncs of the log that were put off.
func (d *logDisk) sync() error {
	d.mu.Lock()
	log := d.log
	d.mu.Unlock()
	if log == nil {
		return nil
	}
	return log.sync()
}

// logFile is a log that Pebble writes, or the list of its files. Pebble asks for a sync only when whole records were
// written, since one goroutine alone commits.
type logFile struct {
	vfs.File
	name     string
	deferred bool
	marks    *marks

	written atomic.Int64 // bytes
	asked   atomic.Int64 // of them, to be synced

	mu     sync.Mutex // held while the file is synced or closed
	synced int64      // bytes
	closed bool
	failed error // of a sync, which is never tried again: a second one may claim success for data that is gone
}

// Write implements [vfs.File].
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written.Add(int64(n))
	return n, err
}

// Sync implements [vfs.File].
func (f *logFile) Sync() error { return f.SyncData() }

// SyncData implements [vfs.File].
func (f *logFile) SyncData() error {
	f.asked.Store(f.written.Load())
	if f.deferred {
		return nil
	}
	return f.sync()
}

// sync syncs what was asked for and is not yet synced.
func (f *logFile) sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncLocked()
}

func (f *logFile) syncLocked() error {
	asked := f.asked.Load()
	if f.closed || f.failed != nil || asked == f.synced {
		return f.failed
	}
	if f.failed = f.File.SyncData(); f.failed == nil {
		f.synced = asked
		f.failed = f.marks.reach(f.name, asked)
	}
	return f.failed
}

// Close implements [vfs.File]. A log that ends is synced before the next one begins, whatever was put off.
func (f *logFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.syncLocked()
	f.closed = true
	return errors.Join(err, f.File.Close())
}
