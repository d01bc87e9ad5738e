package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// logState is how a log, or the list of Pebble's files, was found.
type logState struct {
	name   string
	there  bool
	synced int64 // bytes that are known to have been synced
	whole  int64 // bytes up to the end of the last record that can be read
	clean  bool  // it ends there
	broken bool  // it does not: Pebble's own marks say that there was more
}

// damage says what is wrong with a log, or nothing. A torn end, of the last log, is none: nobody was told what stood
// there.
func (l logState) damage(last, deferred bool) string {
	switch {
	case !l.there:
		return fmt.Sprintf("%s is gone", l.name)
	case l.whole < l.synced:
		return fmt.Sprintf("%s is damaged at byte %d of the %d that were synced", l.name, l.whole, l.synced)
	case l.broken && !deferred, !l.clean && !last:
		return fmt.Sprintf("%s is damaged at byte %d", l.name, l.whole)
	}
	return ""
}

// survey is what lies in a data directory.
type survey struct {
	dir   string
	list  logState
	logs  []logState // those that Pebble will read, in order
	marks *marks
}

// lookAt surveys a data directory in which a store may lie. It changes nothing.
func lookAt(dir string) (*survey, error) {
	marks, err := readMarks(diskFS, dir)
	if errors.Is(err, errMarks) {
		err = nil // what is unreadable is told by damage
		marks.synced[marksName] = 1
	}
	if err != nil {
		return nil, err
	}
	v := &survey{dir: dir, marks: marks}
	desc, err := pebble.Peek(dir, diskFS)
	if err != nil {
		return nil, err
	}
	if !desc.Exists {
		return v, v.nothingThere()
	}
	first, err := v.lookAtList(filepath.Base(desc.ManifestFilename))
	if err != nil {
		return nil, err
	}
	return v, v.lookAtLogs(first)
}

// nothingThere returns an error if something lies in the directory all the same, or has.
func (v *survey) nothingThere() error {
	for name := range v.marks.synced {
		if _, isLog := numberOf(name); isLog {
			return errors.New("what it held is gone, but for the file " + marksName)
		}
	}
	for _, pattern := range []string{"*.log", "*.sst"} {
		if found, err := filepath.Glob(filepath.Join(v.dir, pattern)); err != nil || len(found) > 0 {
			return errors.Join(err, errors.New("the file that begins with marker.manifest is gone"))
		}
	}
	return nil
}

// lookAtList reads the list of Pebble's files, and returns the number of the first log that it needs.
func (v *survey) lookAtList(name string) (first uint64, err error) {
	v.list, err = v.scan(name, 0, func(edit []byte) { first = max(first, logNumber(edit)) })
	return first, err
}

// logNumber returns the number of the first log that is needed from an edit on, or 0 if the edit does not say. It
// stands in front, behind the name of the comparer at most.
func logNumber(edit []byte) uint64 {
	const tagComparer, tagLogNumber = 1, 2
	tag, n := binary.Uvarint(edit)
	if n > 0 && tag == tagComparer {
		length, size := binary.Uvarint(edit[n:])
		if size <= 0 || length > uint64(len(edit)-n-size) {
			return 0
		}
		edit = edit[n+size+int(length):]
		tag, n = binary.Uvarint(edit)
	}
	if n <= 0 || tag != tagLogNumber {
		return 0
	}
	number, _ := binary.Uvarint(edit[n:])
	return number
}

// lookAtLogs reads the logs from the first on: those that are there, and those that should be.
func (v *survey) lookAtLogs(first uint64) error {
	names := map[uint64]string{}
	found, err := diskFS.List(v.dir)
	if err != nil {
		return err
	}
	for name := range v.marks.synced {
		found = append(found, name)
	}
	for _, name := range found {
		if number, ok := numberOf(name); ok && number >= first {
			names[number] = name
		}
	}
	for number, name := range names {
		l, err := v.scan(name, number, func([]byte) {})
		if err != nil {
			return err
		}
		v.logs = append(v.logs, l)
	}
	slices.SortFunc(v.logs, func(a, b logState) int { return strings.Compare(a.name, b.name) })
	return nil
}

// numberOf returns the number of a log.
func numberOf(name string) (uint64, bool) {
	text, isLog := strings.CutSuffix(name, ".log")
	number, err := strconv.ParseUint(text, 10, 64)
	return number, isLog && err == nil
}

// scan reads a log's records.
func (v *survey) scan(name string, number uint64, each func(text []byte)) (l logState, err error) {
	l = logState{name: name, synced: v.marks.synced[name]}
	f, err := diskFS.Open(filepath.Join(v.dir, name), vfs.SequentialReadsOption)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	defer f.Close()
	l.there = true
	r := readerOf(record.NewReader, f, number)
	for err == nil {
		err = l.next(r, each)
	}
	l.clean = errors.Is(err, io.EOF)
	l.broken = errors.Is(err, record.ErrInvalidChunk) || errors.Is(err, record.ErrZeroedChunk)
	if !l.clean && !l.broken && !errors.Is(err, record.ErrUnexpectedEOF) {
		return l, err
	}
	l.whole, err = wholeTo(f, l.whole, number)
	return l, err
}

// readerOf gives the reader of records a number of the type that it wants, which Pebble does not export.
func readerOf[N ~uint64](newReader func(io.Reader, N) *record.Reader, f io.Reader, number uint64) *record.Reader {
	return newReader(f, N(number))
}

// next reads one record.
func (l *logState) next(r *record.Reader, each func(text []byte)) error {
	from, err := r.Next()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(from)
	if err == nil {
		l.whole = r.Offset()
		each(text)
	}
	return err
}

// What stands between the records of a log: the end of a block in which no record can begin, which is zero, and the
// trailer of a log that was closed.
const (
	blockSize   = 32 << 10
	paddingSize = 19 // is too long for it
)

func trailer(number uint64) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0, 0, 0, 0, 0, 0, 5}, uint32(number)+1)
}

// wholeTo returns where that ends which follows the last record of a log.
func wholeTo(f io.ReaderAt, end int64, number uint64) (int64, error) {
	if pad := (blockSize - end%blockSize) % blockSize; pad < paddingSize {
		if there, err := holds(f, end, make([]byte, pad)); err != nil || !there {
			return end, err
		}
		end += pad
	}
	closed := trailer(number)
	there, err := holds(f, end, closed)
	if there {
		end += int64(len(closed))
	}
	return end, err
}

// holds reports whether the bytes stand there.
func holds(f io.ReaderAt, at int64, want []byte) (bool, error) {
	got := make([]byte, len(want))
	n, err := f.ReadAt(got, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n == len(want) && bytes.Equal(got, want), err
}
