package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// All that is put is in the file when Put returns, each line whole, however many put at once.
func TestWhatIsPutIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := open(t, path, Options{})
	var putting sync.WaitGroup
	for i := range 20 {
		putting.Go(func() {
			for k := range 50 {
				line := fmt.Sprintf("%d-%d;", i, k)
				if err := l.Put(t.Context(), []byte(line+"\n")); err != nil {
					t.Error(err)
				}
				if k == 49 && !slices.Contains(linesOf(t, path), line) {
					t.Errorf("%s is not in the file", line)
				}
			}
		})
	}
	putting.Wait()
	lines := linesOf(t, path)
	slices.Sort(lines)
	if n := len(slices.Compact(lines)); n != 1000 {
		t.Errorf("%d lines are in the file", n)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file is for others, too: %v, error %v", info.Mode(), err)
	}
}

func open(t *testing.T, path string, o Options) *Log {
	t.Helper()
	l, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func linesOf(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// A file that is renamed goes on until the log is opened anew; nothing is lost between the two.
func TestAFileIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := open(t, path, Options{})
	put(t, l, "1")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	put(t, l, "2")
	l.Reopen()
	put(t, l, "3")
	l.Add([]byte("4\n"))
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(linesOf(t, path+".1"), linesOf(t, path)); got != "[1 2] [3 4]" {
		t.Errorf("the files have %s", got)
	}
}

func put(t *testing.T, l *Log, line string) {
	t.Helper()
	if err := l.Put(t.Context(), []byte(line+"\n")); err != nil {
		t.Error(err)
	}
}

// disk is a file that fails, and one that hangs.
type disk struct {
	strings.Builder
	fails error
	short int           // bytes that are written all the same
	hangs chan struct{} // until it is closed; nil: it does not
}

func (d *disk) Write(p []byte) (int, error) {
	if d.hangs != nil {
		<-d.hangs
	}
	if d.fails != nil {
		n, _ := d.Builder.Write(p[:min(d.short, len(p))])
		return n, d.fails
	}
	return d.Builder.Write(p)
}

func (d *disk) Close() error { return nil }

func onDisk(d *disk) Options {
	return Options{Within: 50 * time.Millisecond, create: func() (io.WriteCloser, error) { return d, nil }}
}

// What cannot be written is said to whom it matters, counted, and spoils no line that comes after it.
func TestADiskThatIsFull(t *testing.T) {
	d := &disk{fails: errors.New("no space left"), short: 3}
	l := open(t, "", onDisk(d))
	if err := l.Put(t.Context(), []byte("line 1\n")); err == nil {
		t.Error("a line that is cut off is said to be written")
	}
	d.fails = nil
	put(t, l, "line 2")
	if l.Close(); d.String() != "lin\nline 2\n" || l.Dropped() != 1 {
		t.Errorf("%d lines are dropped, and there is %q", l.Dropped(), d.String())
	}
}

// A disk that hangs holds nobody up for longer than a Put may wait, and takes no more memory than is allowed.
func TestADiskThatHangs(t *testing.T) {
	d := &disk{hangs: make(chan struct{})}
	o := onDisk(d)
	o.Most = 1000
	l := open(t, "", o)
	if err := l.Put(t.Context(), []byte("line\n")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a disk that hangs: %v", err)
	}
	for range 300 {
		l.Add([]byte("line\n"))
	}
	if err := l.Put(t.Context(), []byte("line\n")); !errors.Is(err, errFull) {
		t.Errorf("too much waits: %v", err)
	}
	if l.Dropped() != 100 {
		t.Errorf("%d lines are dropped", l.Dropped())
	}
	if err := l.Close(); err == nil {
		t.Error("it is closed in order")
	}
	close(d.hangs)
	<-l.done
}
