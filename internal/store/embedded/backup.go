package embedded

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
)

// A backup is a tar: a file that says that it is one, the files of a checkpoint, and their sums, as sha256sum reads
// them, without which it is not whole.
const (
	backupName    = "TMS-BACKUP"
	backupVersion = "1\n"
	sumsName      = "SHA256SUMS"
)

// Backup is a state of the store that was put aside to be written. It must be closed.
type Backup struct {
	dir     string
	release func()
}

// Backup puts the present state of the store aside, which holds all that was answered before. It blocks while another
// backup is open, and is refused with [tms.ErrNotFound] by a store in memory. Steps go on meanwhile.
func (s *Store) Backup(ctx context.Context) (*Backup, error) {
	j := s.journal
	if j == nil {
		return nil, tms.Refuse(tms.ErrNotFound, "the store is in memory alone, which has no backup")
	}
	select {
	case j.backups <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b := &Backup{dir: filepath.Join(j.disk.dir, checkpointName), release: func() { <-j.backups }}
	pending, err := s.locked(func() error { return nil })
	if err := errors.Join(pending.durable(ctx, err), s.stopped()); err != nil {
		b.release()
		return nil, err
	}
	if err := b.gather(j); err != nil {
		return nil, errors.Join(fmt.Errorf("making a backup: %w", err), b.Close())
	}
	return b, nil
}

// gather makes the checkpoint, with marks of its own: what can be read of its logs is what was answered.
func (b *Backup) gather(j *journal) error {
	if err := errors.Join(os.RemoveAll(b.dir), j.db.Checkpoint(b.dir)); err != nil {
		return err
	}
	v, err := lookAt(b.dir)
	if err != nil {
		return err
	}
	if err := v.check(); err != nil {
		return err
	}
	return v.writeMarks()
}

// Close lets go of the backup.
func (b *Backup) Close() error {
	defer b.release()
	return os.RemoveAll(b.dir)
}

// WriteTo writes the backup as a tar.
func (b *Backup) WriteTo(w io.Writer) (int64, error) {
	counted := &counter{Writer: w}
	archive := &archive{Writer: tar.NewWriter(counted), at: time.Now()}
	err := archive.add(backupName, int64(len(backupVersion)), strings.NewReader(backupVersion))
	entries, listed := os.ReadDir(b.dir)
	for _, e := range entries {
		if err = errors.Join(err, listed); err == nil {
			err = archive.addFile(filepath.Join(b.dir, e.Name()))
		}
	}
	if err == nil {
		sums := archive.sums.String()
		err = archive.add(sumsName, int64(len(sums)), strings.NewReader(sums))
	}
	return counted.n, errors.Join(err, archive.Close())
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// archive is a tar that is written, with the sums of what is in it.
type archive struct {
	*tar.Writer
	at   time.Time
	sums strings.Builder
}

func (a *archive) addFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return a.add(filepath.Base(path), info.Size(), f)
}

func (a *archive) add(name string, size int64, from io.Reader) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: a.at}
	if err := a.WriteHeader(header); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(a, sum), from, size); err != nil {
		return err
	}
	fmt.Fprintf(&a.sums, "%x  %s\n", sum.Sum(nil), name)
	return nil
}
