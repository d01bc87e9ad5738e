package embedded

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Whatever bit of what is known to have been synced has rotted, also in the last block of the log: the log is refused,
// and the refusal names what cuts it. Then the store opens with what was before the damage.
func TestABitThatRottedIsRefusedAndCanBeCut(t *testing.T) {
	for name, interval := range map[string]time.Duration{"always": 0, "at an interval": time.Hour} {
		t.Run(name, func(t *testing.T) {
			from := t.TempDir()
			s := open(t, Options{Dir: from, SyncInterval: interval})
			for range 10 {
				fill(t, s, 1)
			}
			s.journal.disk.sync()
			for range 20 {
				dir := copyOf(t, from)
				at := flipABit(t, dir)
				if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "tms repair "+dir) {
					t.Fatalf("with a flipped bit in byte %d Open says %v", at, err)
				}
				if did, err := Repair(dir); err != nil || len(did) == 0 {
					t.Fatalf("with a flipped bit in byte %d Repair did %q, %v", at, did, err)
				}
				if n := opened(t, dir); n >= 10 || n < int(at)*10/1_000-9 {
					t.Errorf("%d tokens are left of 10 with a flipped bit in byte %d", n, at)
				}
			}
		})
	}
}

// flipABit flips one bit of what the marks say was synced of the last log.
func flipABit(t *testing.T, dir string) (at int64) {
	t.Helper()
	marks, err := readMarks(diskFS, dir)
	if err != nil {
		t.Fatal(err)
	}
	log := lastLog(t, dir)
	change(t, log, func(text []byte) []byte {
		at = rand.Int64N(marks.synced[filepath.Base(log)])
		text[at] ^= 1 << rand.N(8)
		return text
	})
	return at
}

// A log that was there and is gone, empty or shorter is refused, and can be cut.
func TestALogThatIsGoneIsRefused(t *testing.T) {
	from := t.TempDir()
	fill(t, open(t, Options{Dir: from}), 10)
	for name, harm := range map[string]func(log string) error{
		"gone":    os.Remove,
		"empty":   func(log string) error { return os.Truncate(log, 0) },
		"shorter": func(log string) error { return os.Truncate(log, 50) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t, from)
			if err := harm(lastLog(t, dir)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "tms repair "+dir) {
				t.Fatalf("Open says %v", err)
			}
			if did, err := Repair(dir); err != nil || len(did) == 0 {
				t.Fatal(did, err)
			}
			shut(t, openIn(t, dir))
		})
	}
}

// What follows the damage goes with it: a log that is cut is the last one.
func TestRepairCutsWhatCameLater(t *testing.T) {
	from := t.TempDir()
	s := open(t, Options{Dir: from})
	fill(t, s, 10)
	first := filepath.Base(lastLog(t, from))
	early := copyOf(t, from)
	if err := s.journal.db.Flush(); err != nil { // begins another log
		t.Fatal(err)
	}
	fill(t, s, 10)
	dir := copyOf(t, from)
	// As if the first log had not been flushed yet. Every table of then is there, too: since then it may have been
	// compacted.
	for _, name := range append(tablesOf(t, early), first, "marker", "MANIFEST", marksName) {
		restoreFrom(t, early, dir, name)
	}
	change(t, filepath.Join(dir, first), func(text []byte) []byte { text[30] ^= 1; return text })
	if n := opened(t, dir); n != 0 {
		t.Fatalf("%d tokens are there", n)
	}
	did, err := Repair(dir)
	if err != nil || !strings.Contains(strings.Join(did, "\n"), "is removed") {
		t.Fatalf("Repair did %q, %v", did, err)
	}
	shut(t, openIn(t, dir))
}

func tablesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		names = append(names, filepath.Base(table))
	}
	return names
}

// restoreFrom puts the files whose names begin so back as they were.
func restoreFrom(t *testing.T, from, to, prefix string) {
	t.Helper()
	for _, dir := range []string{to, from} {
		found, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err == nil && dir == to {
				err = os.Remove(path)
			} else if err == nil {
				err = os.WriteFile(filepath.Join(to, filepath.Base(path)), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Repair changes nothing where nothing is wrong, and not what a server holds.
func TestRepairLeavesAloneWhatIsWell(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	fill(t, s, 10)
	if _, err := Repair(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("while a store is open Repair says %v", err)
	}
	shut(t, s)
	if did, err := Repair(dir); err != nil || len(did) > 0 {
		t.Errorf("Repair did %q, %v", did, err)
	}
	if n := opened(t, dir); n != 10 {
		t.Errorf("%d of 10 tokens are there", n)
	}
}

// A crash of the machine at an interval may leave a hole behind what was synced, although later pages of the log are
// there. Nobody was promised what stood there: that is an end, and no damage.
func TestAHoleBehindWhatWasSyncedIsAnEnd(t *testing.T) {
	from := t.TempDir()
	s := open(t, Options{Dir: from, SyncInterval: time.Hour})
	fill(t, s, 10)
	s.journal.disk.sync()
	for range 30 {
		fill(t, s, 100)
	}
	dir := copyOf(t, from)
	change(t, lastLog(t, dir), func(text []byte) []byte { clear(text[40_000:44_096]); return text })
	if n := opened(t, dir); n < 10 || n > 3_000 {
		t.Errorf("%d tokens are there, want what was synced, and some", n)
	}
}

// A list of Pebble's files that has rotted is not read as one of a time when there were fewer. No store is taken for a
// new one because the file that leads to the list is gone.
func TestARottenListIsRefused(t *testing.T) {
	from := t.TempDir()
	s := openIn(t, from)
	fill(t, s, 10)
	shut(t, s)
	lists, _ := filepath.Glob(filepath.Join(from, "MANIFEST-*"))
	size := len(content(os.ReadFile(lists[len(lists)-1])))
	for at := 3; at < size; at += size/10 + 1 {
		dir := copyOf(t, from)
		change(t, filepath.Join(dir, filepath.Base(lists[len(lists)-1])),
			func(text []byte) []byte { text[at] ^= 4; return text })
		if n := opened(t, dir); n != 0 {
			t.Errorf("with byte %d of %d changed %d tokens are there", at, size, n)
		}
	}
	dir := copyOf(t, from)
	markers, _ := filepath.Glob(filepath.Join(dir, "marker.manifest.*"))
	for _, marker := range markers {
		os.Remove(marker)
	}
	if n, err := Open(Options{Dir: dir}); err == nil {
		t.Errorf("a store without its marker opens as %v", n)
	}
}

func content(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// Whatever file is damaged, what comes of it is all the tokens or an error of one line.
func TestADamagedFileIsToldInOneLine(t *testing.T) {
	from := t.TempDir()
	s := openIn(t, from)
	fill(t, s, 200)
	if err := s.journal.db.Flush(); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	entries, _ := os.ReadDir(from)
	for _, e := range entries {
		path := filepath.Join(from, e.Name())
		size := len(content(os.ReadFile(path)))
		for _, at := range []int{-1, 0, size / 3, size / 2, size - 8, size - 1} {
			if at >= size {
				continue
			}
			dir := copyOf(t, from)
			change(t, filepath.Join(dir, e.Name()), func(text []byte) []byte {
				if at < 0 {
					return nil
				}
				text[at] ^= 0x10
				return text
			})
			if n := opened(t, dir); n != 0 && n != 200 {
				t.Errorf("%s, changed at %d of %d: %d tokens are there", e.Name(), at, size, n)
			}
		}
	}
}

// A directory that holds something else is no data directory, and is left as it is.
func TestADirectoryWithForeignFilesIsRefused(t *testing.T) {
	for _, name := range []string{"notes.txt", "000001.logs", "photos"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s holds %q", dir, name)) {
			t.Errorf("with %s Open says %v", name, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%v were left there, %v", entries, err)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"lost+found", ".gitkeep"} { // as volumes have them
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		shut(t, openIn(t, dir))
	}
}

// The data directory is its owner's alone, whoever made it.
func TestTheDataDirectoryIsPrivate(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "made"), filepath.Join(dir, "there")} {
		if filepath.Base(path) == "there" {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		open(t, Options{Dir: path})
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s is %v, %v", path, info.Mode(), err)
		}
	}
}

// Removing the file LOCK lets nobody in.
func TestTheDataDirectoryStaysLockedWithoutItsFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	inAnotherProcess(t, dir)
	fill(t, s, 1)
	if _, err := Open(Options{Dir: dir}); err == nil || tms.CodeOf(err) != "" {
		t.Errorf("a second store in the process: %v", err)
	}
}

// openIn opens a store that the test closes.
func openIn(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
