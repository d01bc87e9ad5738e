package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// marks say how far each log, and the list of Pebble's files, is known to have been synced. Pebble takes damage behind
// the last whole record that it can read for the end of a log; with the marks it is seen for what it is.
//
// They stand in a file of their own, which is written after each sync, before the steps of the group are answered. It
// is not synced itself: a crash of the machine may leave an older one, which says less, and never too much.
type marks struct {
	mu       sync.Mutex
	file     vfs.File
	deferred bool // syncs of the logs were put off: Pebble's own marks in them promise too much
	synced   map[string]int64
}

const (
	marksSize   = 512 // of the file, a sector, or a multiple of it
	markedFiles = 8   // more logs than Pebble has at once
)

var errMarks = errors.New("the file " + marksName + " is damaged")

// readMarks returns what the file in the directory says. One that is missing or empty says nothing.
func readMarks(disk vfs.FS, dir string) (*marks, error) {
	m := &marks{synced: map[string]int64{}}
	f, err := disk.Open(filepath.Join(dir, marksName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return m, m.parse(text)
}

func (m *marks) parse(text []byte) error {
	if len(bytes.Trim(text, "\x00")) == 0 {
		return nil
	}
	body, sum, found := strings.Cut(string(text), "crc ")
	if !found || strings.TrimSpace(sum) != checksum(body) {
		return errMarks
	}
	for line := range strings.Lines(body) {
		var name string
		var n int64
		if _, err := fmt.Sscan(line, &name, &n); err != nil {
			return errMarks
		}
		m.synced[name] = n
	}
	_, m.deferred = m.synced[deferredMark]
	delete(m.synced, deferredMark)
	return nil
}

// deferredMark stands in the file in the place of a name while syncs are put off.
const deferredMark = "deferred"

func checksum(body string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) }

// text is the file's content.
func (m *marks) text() []byte {
	var body strings.Builder
	if m.deferred {
		fmt.Fprintln(&body, deferredMark, 1)
	}
	for _, name := range slices.Sorted(maps.Keys(m.synced)) {
		fmt.Fprintln(&body, name, m.synced[name])
	}
	text := body.String() + "crc " + checksum(body.String())
	return append([]byte(text), bytes.Repeat([]byte{'\n'}, marksSize-len(text)%marksSize)...)
}

// open makes the file say what m does, on the disk, and keeps it open for what is synced from now on.
func (m *marks) open(disk vfs.FS, dir string, deferred bool) (err error) {
	if m.file, err = disk.OpenReadWrite(filepath.Join(dir, marksName), vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	m.deferred = deferred
	if err := m.write(); err != nil {
		return errors.Join(err, m.file.Close())
	}
	return m.file.Sync()
}

func (m *marks) write() error {
	_, err := m.file.WriteAt(m.text(), 0)
	return err
}

// reach says that n bytes of the file are synced. Pebble writes one log and one list of its files at a time: an old
// list is not looked at any more, nor are logs before the last few.
func (m *marks) reach(name string, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.synced[name]; !known {
		m.forget(name)
	}
	m.synced[name] = n
	return m.write()
}

// forget makes room for a file that begins.
func (m *marks) forget(newer string) {
	var same []string
	for name := range m.synced {
		if isList(name) == isList(newer) {
			same = append(same, name)
		}
	}
	slices.Sort(same)
	keep := markedFiles
	if isList(newer) {
		keep = 1
	}
	for len(same) >= keep {
		delete(m.synced, same[0])
		same = same[1:]
	}
}

// close makes the marks durable.
func (m *marks) close() error { return errors.Join(m.file.Sync(), m.file.Close()) }

// isList reports whether the name is that of a list of Pebble's files, its MANIFEST.
func isList(name string) bool { return strings.HasPrefix(name, "MANIFEST-") }
