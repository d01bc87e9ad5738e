package embedded

import (
	"bytes"
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

	tms "github.com/manankarani/token-manager"
)

// crashed returns a copy of a store's directory as a crash leaves it, with 1,500 acknowledged tokens in its last log,
// and the path of that log.
func crashed(t *testing.T) (dir, log string) {
	t.Helper()
	from := t.TempDir()
	s := open(t, Options{Dir: from})
	for range 15 {
		fill(t, s, 100)
	}
	dir = copyOf(t, from)
	return dir, lastLog(t, dir)
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

// A log whose end was not written, since that step was never acknowledged, is read up to there. What is missing of what
// was acknowledged is no such end.
func TestALogThatWasCutShortIsRead(t *testing.T) {
	from := t.TempDir()
	s := open(t, Options{Dir: from})
	fill(t, s, 100)
	marks, err := os.ReadFile(filepath.Join(from, marksName))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 100)
	for acknowledged, want := range map[bool]int{false: 100, true: 0} {
		dir := copyOf(t, from)
		change(t, lastLog(t, dir), func(text []byte) []byte {
			return text[:len(bytes.TrimRight(text, "\x00"))-10] // the file is made longer in advance
		})
		if !acknowledged {
			change(t, filepath.Join(dir, marksName), func([]byte) []byte { return marks })
		}
		if n := opened(t, dir); n != want {
			t.Errorf("acknowledged %v: %d tokens are left, want %d", acknowledged, n, want)
		}
	}
}

// opened opens what lies in the directory and returns how many tokens there are; 0 if it is refused as damaged, in one
// line that names the directory.
func opened(t *testing.T, dir string) int {
	t.Helper()
	s, err := Open(Options{Dir: dir})
	if err == nil {
		defer shut(t, s)
		return len(s.pools[tms.DefaultPool].tokens)
	}
	if text := err.Error(); !strings.Contains(text, dir) || strings.Contains(text, "\n") {
		t.Errorf("the refusal is %q", text)
	}
	return 0
}

func lastLog(t *testing.T, dir string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	return slices.Max(logs)
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
