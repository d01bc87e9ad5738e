package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// crashed returns a copy of a store's directory as a crash leaves it, with 1,500 acknowledged tokens in its last log, and
// the path of that log.
func crashed(t *testing.T) (dir, log string) {
	t.Helper()
	from := t.TempDir()
	s := open(t, Options{Dir: from})
	for range 15 {
		fill(t, s, 100)
	}
	dir = filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	return dir, slices.Max(logs)
}

// change rewrites a file.
func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A log that has rotted in the middle is not read as one that ends there, also the first one of a directory.
func TestARottenLogIsRefused(t *testing.T) {
	dir, log := crashed(t)
	change(t, log, func(text []byte) []byte {
		text[1_500] ^= 0xff
		return text
	})
	s, err := Open(Options{Dir: dir})
	if err == nil {
		shut(t, s)
		t.Fatal("a store opened on a rotten log")
	}
	if !strings.Contains(err.Error(), dir) {
		t.Errorf("the error does not name the directory: %v", err)
	}
}

// A log whose end was not written, since that step was never acknowledged, is read up to there.
func TestALogThatWasCutShortIsRead(t *testing.T) {
	dir, log := crashed(t)
	change(t, log, func(text []byte) []byte {
		end := len(text)
		for text[end-1] == 0 { // the file is made longer in advance
			end--
		}
		return text[:end-10]
	})
	s := open(t, Options{Dir: dir})
	if n := len(s.pools["default"].tokens); n != 1_400 {
		t.Errorf("%d tokens are left, want all but the last 100", n)
	}
}

// Pebble tries for ever to write what it has read. Open does not, and the directory can be opened when there is space.
func TestOpenOnAFullDiskFails(t *testing.T) {
	dir, _ := crashed(t)
	full := &atomic.Bool{}
	full.Store(true)
	real := diskFS
	diskFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			time.Sleep(time.Millisecond)
			return errors.New("no space left on device")
		}
		return nil
	}))
	t.Cleanup(func() { diskFS = real })
	_, err := Open(Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open returned %v", err)
	}
	full.Store(false)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if s, err := Open(Options{Dir: dir}); err == nil {
			if n := len(s.pools["default"].tokens); n != 1_500 {
				t.Errorf("%d tokens are there when there is space again", n)
			}
			shut(t, s)
			return
		}
	}
	t.Error("the directory stays locked when there is space again")
}

func TestADirectoryThatCannotBeLockedIsNotSaidToBeInUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "LOCK"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Dir: dir})
	if file := new(fs.PathError); !errors.As(err, &file) || strings.Contains(err.Error(), "in use") {
		t.Errorf("Open returned %v", err)
	}
}
