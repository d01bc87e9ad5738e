package embedded

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskFile is a file that Pebble writes in the data directory, or the directory itself: see [logDisk].
type diskFile struct {
	vfs.File
	disk *logDisk
}

// Write implements [vfs.File].
func (f *diskFile) Write(p []byte) (int, error) {
	f.disk.try(func() error {
		_, err := f.File.Write(p)
		return err
	})
	return len(p), nil
}

// Preallocate implements [vfs.File].
func (f *diskFile) Preallocate(offset, length int64) error {
	f.disk.try(func() error { return f.File.Preallocate(offset, length) })
	return nil
}

// Sync implements [vfs.File].
func (f *diskFile) Sync() error {
	f.disk.try(f.File.Sync)
	return nil
}

// SyncData implements [vfs.File].
func (f *diskFile) SyncData() error {
	f.disk.try(f.File.SyncData)
	return nil
}

// SyncTo implements [vfs.File].
func (f *diskFile) SyncTo(length int64) (fullSync bool, err error) {
	f.disk.try(func() (err error) {
		fullSync, err = f.File.SyncTo(length)
		return err
	})
	return fullSync, nil
}

// Close implements [vfs.File].
func (f *diskFile) Close() error {
	err := f.File.Close()
	f.disk.try(func() error { return err })
	return nil
}

// logFile is a log that Pebble writes, or the list of its files. Pebble asks for a sync only when whole records were
// written, since one goroutine alone commits.
type logFile struct {
	*diskFile
	name     string
	deferred bool

	written atomic.Int64 // bytes
	asked   atomic.Int64 // of them, to be synced

	mu     sync.Mutex // held while the file is synced or closed
	synced int64      // bytes
	closed bool
}

// Write implements [vfs.File].
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.diskFile.Write(p)
	f.written.Add(int64(n))
	return n, err
}

// Sync implements [vfs.File].
func (f *logFile) Sync() error { return f.SyncData() }

// SyncData implements [vfs.File].
func (f *logFile) SyncData() error {
	f.asked.Store(f.written.Load())
	if !f.deferred {
		f.sync()
	}
	return nil
}

// sync syncs what was asked for and is not yet synced.
func (f *logFile) sync() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncLocked()
}

// syncLocked is sync where the lock is held. A sync that fails is never tried again, since a second one may claim
// success for data that is gone.
func (f *logFile) syncLocked() {
	asked := f.asked.Load()
	if f.closed || asked == f.synced {
		return
	}
	f.disk.try(func() error {
		if err := f.File.SyncData(); err != nil {
			return err
		}
		f.synced = asked
		return f.disk.marks.reach(f.name, asked)
	})
}

// Close implements [vfs.File]. A log that ends is synced before the next one begins, whatever was put off.
func (f *logFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncLocked()
	f.closed = true
	return f.diskFile.Close()
}
