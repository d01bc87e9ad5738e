package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	tms "github.com/manankarani/token-manager"
)

// copyOf returns a copy of a store's directory as a crash of the process leaves it: of one instant. It begins anew
// where a file of the store has changed meanwhile, as where Pebble writes a table behind the store's back.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	for range 100 {
		before, to := filesOf(t, dir), filepath.Join(t.TempDir(), "copy")
		err := os.CopyFS(to, os.DirFS(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err == nil && maps.Equal(before, filesOf(t, dir)) {
			return to
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the store's files never stayed as they were")
	return ""
}

// filesOf tells the present state of a directory's files from another one.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if info, gone := entry.Info(); gone == nil {
			files[path] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// onCountedDisk puts a disk under the stores of this test that counts the fsyncs of the log.
func onCountedDisk(t *testing.T) *atomic.Int64 {
	syncs := &atomic.Int64{}
	real := diskFS
	diskFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			syncs.Add(1)
		}
		return nil
	}))
	t.Cleanup(func() { diskFS = real })
	return syncs
}

// At an interval a step is answered when it is with the operating system, so that a crash of the process loses nothing,
// and before its fsync. All that were answered since share the next one.
func TestAtAnIntervalOnlyTheFsyncIsPutOff(t *testing.T) {
	syncs := onCountedDisk(t)
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, SyncInterval: time.Hour})
	for syncs.Store(0); len(s.pools[tms.DefaultPool].tokens) < 50; {
		fill(t, s, 1)
	}
	if n := syncs.Load(); n != 0 {
		t.Errorf("%d fsyncs before the interval was over", n)
	}
	crashed := open(t, Options{Dir: copyOf(t, dir)})
	if n := len(crashed.pools[tms.DefaultPool].tokens); n != 50 {
		t.Errorf("%d of 50 answered tokens are there after a crash", n)
	}
	syncs.Store(0)
	s.journal.disk.sync()
	s.journal.disk.sync() // has nothing to do
	if n := syncs.Load(); n != 1 {
		t.Errorf("%d fsyncs when the interval was over", n)
	}
}

// A log that is full is on the disk before the next one begins: only the last one may have a torn end.
func TestAtAnIntervalALogThatEndsIsSynced(t *testing.T) {
	syncs := onCountedDisk(t)
	s := open(t, Options{Dir: t.TempDir(), SyncInterval: time.Hour})
	fill(t, s, 1)
	syncs.Store(0)
	if err := s.journal.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := syncs.Load(); n != 1 {
		t.Errorf("the log that ended saw %d fsyncs", n)
	}
}

// An fsync that was put off and fails stops the store like any other.
func TestAtAnIntervalAFailedFsyncStopsTheStore(t *testing.T) {
	broken := onBrokenDisk(t, errorfs.OpFileSyncData)
	s, err := Open(Options{Dir: t.TempDir(), SyncInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	fillUntilFailed(t, s)
	broken.Store(false)
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("closing says %v", err)
	}
}

// fillUntilFailed gives the store one step that is not yet synced, and waits until it has stopped.
func fillUntilFailed(t *testing.T, s *Store) {
	t.Helper()
	_, _ = s.Generate(t.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	select {
	case <-s.Failed():
	case <-time.After(time.Minute):
		t.Fatal("the store goes on after an fsync that failed")
	}
}
