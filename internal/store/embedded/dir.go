package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// ours are the names of the files of a data directory: those of Pebble, and what the store keeps beside them.
var ours = regexp.MustCompile(`^(LOCK|CURRENT|` + marksName + `|` + putBackName +
	`|\d{6,}\.(log|sst|blob|dbtmp)|(MANIFEST|OPTIONS)-\d{6,}|` +
	`(temporary|CURRENT)\.\d{6,}\.dbtmp|marker\.(manifest|format-version)\.\d{6,}\.[\w-]+|` + checkpointName + `)$`)

// marksName is the file of the [marks].
const marksName = "SYNCED"

// checkpointName is the directory in which a backup is gathered.
const checkpointName = "checkpoint"

// putBackName is a file that says of a directory that it is a copy which was put back: what was answered after the copy
// was made is not there.
const putBackName = "PUT-BACK"

func isPutBack(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, putBackName))
	return err == nil
}

// MarkPutBack says of a directory that a copy was put back there by hand. When a store opens it, its pools settle.
func MarkPutBack(dir string) error {
	if err := onlyOurs(dir); err != nil {
		return err
	}
	return markPutBack(dir)
}

func markPutBack(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, putBackName), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(dir))
}

// forgetPutBack removes the mark, once the log says that the pools settle.
func (s *Store) forgetPutBack(dir string) error {
	if s.journal == nil || !s.journal.putBack {
		return nil
	}
	return errors.Join(os.Remove(filepath.Join(dir, putBackName)), syncDir(dir))
}

// unfinishedName is a file that stands in a directory while a backup is restored into it.
const unfinishedName = "RESTORING"

// tolerated says of a file that is none of the store's that it does no harm: hidden ones, and what a file system puts
// into its root.
func tolerated(name string) bool { return strings.HasPrefix(name, ".") || name == "lost+found" }

// prepareDir makes the directory, or sees that it holds a store or nothing, and is its owner's alone.
func prepareDir(dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	if err := onlyOurs(dir); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the data directory: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		log.Warn("others may be able to read the data directory, and it cannot be closed to them", "error", err)
	}
	return nil
}

// onlyOurs refuses a directory in which something else lies.
func onlyOurs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("the data directory: %w", err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == unfinishedName:
			return fmt.Errorf("a restore into %s was not finished: empty the directory and restore again", dir)
		case !ours.MatchString(name) && !tolerated(name):
			return fmt.Errorf("%s holds %q, which is no file of this store: choose another data directory, or "+
				"move that away",
				dir, name)
		}
	}
	return nil
}

// dirLock keeps other processes out of a data directory: by Pebble's file LOCK, which another version looks at too, and
// by the directory itself, which stays held when somebody removes the file.
type dirLock struct {
	file *pebble.Lock
	dir  io.Closer
}

func lockDir(dir string) (*dirLock, error) {
	held, err := holdDirectory(dir)
	if err != nil {
		return nil, notLocked(dir, err)
	}
	file, err := pebble.LockDirectory(dir, diskFS)
	if err != nil {
		return nil, errors.Join(notLocked(dir, err), held.Close())
	}
	return &dirLock{file, held}, nil
}

// Close lets others in.
func (l *dirLock) Close() error { return errors.Join(l.file.Close(), l.dir.Close()) }

// ErrInUse is in the error of Open and of Repair where another process, or this one, has the data directory open.
var ErrInUse = errors.New("in use by another process")

// notLocked says why the directory could not be locked.
func notLocked(dir string, err error) error {
	if file := new(fs.PathError); errors.As(err, &file) {
		return fmt.Errorf("locking the data directory: %w", err)
	}
	return fmt.Errorf("the data directory %s is %w%s: %w", dir, ErrInUse, holderOf(dir), err)
}
