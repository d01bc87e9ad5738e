package embedded

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// backUp writes a backup of the store into a file.
func backUp(t *testing.T, s *Store) string {
	t.Helper()
	b, err := s.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if _, err := b.WriteTo(&text); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	return fileOf(t, text.Bytes())
}

func fileOf(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.tar")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A backup that is made while the store is used holds all that was answered before it, in each mode of durability. What
// is restored from it goes on, with fences above those that were issued since.
func TestABackupIsRestored(t *testing.T) {
	for name, interval := range map[string]time.Duration{"always": 0, "at an interval": time.Hour} {
		t.Run(name, func(t *testing.T) {
			clock := storetest.NewClock()
			s := open(t, Options{Dir: t.TempDir(), SyncInterval: interval, Now: clock.Now})
			fill(t, s, 1_000)
			held := take(t, s, 3)
			stop := fillOn(t, s)
			path := backUp(t, s)
			stop()
			clock.Advance(time.Millisecond)
			last := take(t, s, 1)[0].Lease.Fence
			clock.Advance(time.Second)
			dir := filepath.Join(t.TempDir(), "a", "b")
			if err := Restore(path, dir); err != nil {
				t.Fatal(err)
			}
			again := open(t, Options{Dir: dir, Now: clock.Now})
			if n := len(again.pools[tms.DefaultPool].tokens); n < 1_000 {
				t.Errorf("%d of 1,000 tokens are there", n)
			}
			kept, err := again.KeepAlive(t.Context(), tms.DefaultPool,
				[]tms.LeaseKey{{Token: held[0].Value, LeaseID: held[0].Lease.ID}})
			if err != nil || kept[0].Err != nil {
				t.Errorf("a lease that was given before the backup: %v, %v", err, kept)
			}
			results, err := again.Assign(t.Context(), tms.DefaultPool, []tms.AssignRequest{{}})
			if err != nil || tms.CodeOf(results[0].Err) != tms.ErrPoolSettling {
				t.Errorf("a token that may have been given after the backup: %v, %v", err, results)
			}
			clock.Advance(time.Minute + 2*time.Second) // the longest lease, and what a takeover skips
			if fence := take(t, again, 1)[0].Lease.Fence; fence <= last {
				t.Errorf("fence %d was issued after %d", fence, last)
			}
		})
	}
}

// fillOn generates tokens until the function that it returns is called.
func fillOn(t *testing.T, s *Store) (stop func()) {
	var filling sync.WaitGroup
	ended := make(chan struct{})
	filling.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				fill(t, s, 10)
			}
		}
	})
	return func() { close(ended); filling.Wait() }
}

// A backup leaves nothing behind in the directory, neither in the end nor where the server died meanwhile, and a second
// one can be made.
func TestABackupLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	fill(t, s, 1)
	backUp(t, s)
	b, err := s.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	crashed := copyOf(t, dir)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	shut(t, s)
	if n := opened(t, crashed); n != 1 {
		t.Errorf("%d tokens are there", n)
	}
	for _, dir := range []string{dir, crashed} {
		if _, err := os.Stat(filepath.Join(dir, checkpointName)); !os.IsNotExist(err) {
			t.Errorf("the checkpoint is left: %v", err)
		}
	}
}

func TestAStoreInMemoryHasNoBackup(t *testing.T) {
	if _, err := open(t, Options{}).Backup(t.Context()); tms.CodeOf(err) != tms.ErrNotFound {
		t.Errorf("got %v", err)
	}
}

// A backup that was cut short anywhere, or in a file of which a bit has rotted, is refused, and nothing is left of it.
func TestADamagedBackupIsRefused(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	fill(t, s, 10)
	whole := content(os.ReadFile(backUp(t, s)))
	for range 20 {
		at := rand.N(len(whole) - 2_048) // the sums stand in what is behind, or the end of the tar
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1
		damaged := map[string][]byte{"cut": whole[:at], "at a block": whole[:at/512*512], "flipped": flipped}
		for name, text := range damaged {
			dir := filepath.Join(t.TempDir(), "new")
			err := Restore(fileOf(t, text), dir)
			if err == nil && name == "flipped" && opened(t, dir) == 10 { // between two files, where nothing is said
				continue
			}
			if _, left := os.Stat(dir); left == nil || err == nil {
				t.Fatalf("%s at %d of %d: %v; the directory is there: %v", name, at, len(whole), err, left == nil)
			}
		}
	}
}

// A tar that somebody made to do harm writes nothing: nothing outside of the directory, no link, no bytes without end.
func TestAHostileBackupIsRefused(t *testing.T) {
	for name, header := range map[string]tar.Header{
		"outside":     {Typeflag: tar.TypeReg, Name: "../000001.sst"},
		"absolute":    {Typeflag: tar.TypeReg, Name: "/tmp/000001.sst"},
		"below":       {Typeflag: tar.TypeReg, Name: "a/000001.sst"},
		"foreign":     {Typeflag: tar.TypeReg, Name: "authorized_keys"},
		"lock":        {Typeflag: tar.TypeReg, Name: "LOCK"},
		"checkpoint":  {Typeflag: tar.TypeReg, Name: checkpointName},
		"symlink":     {Typeflag: tar.TypeSymlink, Name: "000001.sst", Linkname: "/etc/passwd"},
		"hard link":   {Typeflag: tar.TypeLink, Name: "000001.sst", Linkname: "/etc/passwd"},
		"directory":   {Typeflag: tar.TypeDir, Name: "000001.sst"},
		"twice":       {Typeflag: tar.TypeReg, Name: backupName},
		"no sum":      {Typeflag: tar.TypeReg, Name: "000002.sst"},
		"a line feed": {Typeflag: tar.TypeReg, Name: "000001.sst\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			err := Restore(fileOf(t, hostile(t, header)), dir)
			if _, left := os.Stat(dir); err == nil || left == nil {
				t.Errorf("%v; the directory is there: %v", err, left == nil)
			}
		})
	}
}

// hostile returns a backup with one file too many, whose sum is there unless it is that of 000002.sst.
func hostile(t *testing.T, header tar.Header) []byte {
	var text bytes.Buffer
	a := archive{Writer: tar.NewWriter(&text), at: time.Now()}
	if err := a.add(backupName, 2, strings.NewReader(backupVersion)); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteHeader(&header); err != nil {
		t.Fatal(err)
	}
	if header.Name != "000002.sst" {
		fmt.Fprintf(&a.sums, "%x  %s\n", sha256.Sum256(nil), header.Name)
	}
	sums := a.sums.String()
	if err := a.add(sumsName, int64(len(sums)), strings.NewReader(sums)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// What is in the way is not overwritten, and stays as it is.
func TestRestoreOverwritesNothing(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	path := backUp(t, s)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Restore(path, dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v are there, %v", entries, err)
	}
}

// A directory in which a restore was cut off opens as no store.
func TestARestoreThatWasCutOffIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, unfinishedName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "was not finished") {
		t.Errorf("got %v", err)
	}
}
