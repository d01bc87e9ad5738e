package embedded

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

var errNoBackup = errors.New("it is no backup of TMS, or not a whole one")

// maxBackupFiles and maxSums bound what is kept in memory of a backup that is read.
const (
	maxBackupFiles = 100_000
	maxSums        = 16 << 20
)

// IsBackup reports whether the file begins as a backup does.
func IsBackup(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	header, err := tar.NewReader(f).Next()
	return err == nil && header.Name == backupName
}

// CheckBackup reads a backup to its end, and returns an error unless all of it is there, as it was written, and nothing
// else.
func CheckBackup(path string) error {
	err := eachFile(path, func(string, io.Reader) error { return nil })
	if err != nil {
		return fmt.Errorf("the backup %s: %w", path, err)
	}
	return nil
}

// Restore puts a backup into a directory that is missing or empty. Either all of it is there then, and on the disk, or
// it fails and leaves the directory as it was. After a crash meanwhile no store opens there.
func Restore(path, dir string) (err error) {
	if err := CheckBackup(path); err != nil {
		return err
	}
	made, err := emptyDir(dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("restoring %s into %s: %w", path, dir, err), empty(dir, made))
		}
	}()
	unfinished := filepath.Join(dir, unfinishedName)
	if err := errors.Join(writeFile(unfinished, nil), syncDir(dir)); err != nil {
		return err
	}
	err = eachFile(path, func(name string, from io.Reader) error { return writeFile(filepath.Join(dir, name), from) })
	if err != nil {
		return err
	}
	return errors.Join(markPutBack(dir), os.Remove(unfinished), syncDir(dir))
}

// emptyDir makes the directory, or returns an error if something lies there.
func emptyDir(dir string) (made bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, os.MkdirAll(dir, 0o700)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return false, fmt.Errorf("%s is not empty: restore into a directory that is missing or empty", dir)
		}
	}
	return false, err
}

// empty takes what was restored out of the directory again.
func empty(dir string, made bool) (err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != "lost+found" {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if made {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}

// writeFile makes a new file with what is read; nil: nothing.
func writeFile(path string, from io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if from != nil {
		_, err = io.Copy(f, from)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// eachFile calls f for each file of the data directory that the backup holds. It returns an error, perhaps in the end
// only, if the backup is not whole, or holds what does not belong into one.
func eachFile(path string, f func(name string, from io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	r := &reading{Reader: tar.NewReader(file), left: info.Size(), sums: map[string]string{}}
	for err == nil {
		err = r.next(f)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if !r.whole {
		return errNoBackup
	}
	return nil
}

// reading is a backup that is read.
type reading struct {
	*tar.Reader
	left  int64             // bytes that its files can have, which are no more than those of the backup
	sums  map[string]string // of what was read
	whole bool              // the sums were there, and right
}

// next reads one file. It returns io.EOF at the end.
func (r *reading) next(f func(name string, from io.Reader) error) error {
	header, err := r.Reader.Next()
	if errors.Is(err, io.EOF) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoBackup, err)
	}
	if err := r.admit(header); err != nil {
		return err
	}
	if header.Name == sumsName {
		return r.compare()
	}
	sum := sha256.New()
	from := io.TeeReader(r.Reader, sum)
	if header.Name != backupName {
		err = f(header.Name, from)
	}
	if _, rest := io.Copy(io.Discard, from); err == nil && rest != nil {
		err = fmt.Errorf("%w: %w", errNoBackup, rest)
	}
	r.sums[header.Name] = fmt.Sprintf("%x", sum.Sum(nil))
	return err
}

// admit refuses what no backup holds: other kinds of files, other names and so other places, a file twice, more bytes
// than there are.
func (r *reading) admit(h *tar.Header) error {
	_, twice := r.sums[h.Name]
	r.left -= h.Size
	switch {
	case len(r.sums) == 0 && h.Name != backupName, r.whole:
		return errNoBackup
	case h.Typeflag != tar.TypeReg, twice, h.Size < 0, r.left < 0, len(r.sums) > maxBackupFiles:
		return fmt.Errorf("%w: %q does not belong there", errNoBackup, h.Name)
	case h.Name == backupName, h.Name == sumsName:
		return nil
	case !ours.MatchString(h.Name), h.Name == "LOCK", h.Name == checkpointName:
		return fmt.Errorf("%w: %q does not belong there", errNoBackup, h.Name)
	}
	return nil
}

// compare reads the sums, which must be those of all that was read before.
func (r *reading) compare() error {
	text, err := io.ReadAll(io.LimitReader(r.Reader, maxSums))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoBackup, err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		want[name] = sum
	}
	for name, sum := range r.sums {
		if want[name] != sum {
			return fmt.Errorf("%w: %s is damaged", errNoBackup, name)
		}
	}
	if len(want) != len(r.sums) {
		return fmt.Errorf("%w: a file is missing", errNoBackup)
	}
	r.whole = true
	return nil
}
