package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A backup of a running server is whole, and what is restored from it has the leases of then, and fences above those
// that were issued since. Nothing is overwritten that was not to be.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	p := startServe(t, "--store", "embedded:"+filepath.Join(dir, "data"))
	p.must(201, http.MethodPost, "/generate-token", object{"tokens": []string{"a", "b"}})
	lease := p.must(200, http.MethodPost, "/assign-token", object{"ttl": "10m", "prefer": "a"})
	file := filepath.Join(dir, "backup") // a name that says nothing
	runTMS(t, true, "backup", "--server", p.url, file)
	if out := runTMS(t, false, "backup", "--server", p.url, file); !strings.Contains(out, "--force") {
		t.Errorf("a second backup into the file says:\n%s", out)
	}
	runTMS(t, true, "backup", "--server", p.url, "--force", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	last := p.must(200, http.MethodPost, "/assign-token", object{"ttl": "10m"})
	p.kill()

	again := filepath.Join(dir, "again")
	runTMS(t, true, "restore", file, again)
	if out := runTMS(t, false, "restore", file, again); !strings.Contains(out, "not empty") {
		t.Errorf("a second restore into the directory says:\n%s", out)
	}
	q := startServe(t, "--store", "embedded:"+again)
	q.must(200, http.MethodPost, "/keep-alive", object{"token": "a", "lease_id": lease.LeaseID})
	if r := q.must(503, http.MethodPost, "/assign-token", nil); r.Code != "pool_settling" {
		t.Errorf("the copy answers %q, though b was given after the backup", r.Code)
	}
	if out := runTMS(t, true, "pool", "show", "default", "--server", q.url); !strings.Contains(out, "settling until") {
		t.Errorf("the pool shows\n%s", out)
	}
	drawn := q.must(201, http.MethodPost, "/generate-token", nil).Token
	next := q.must(200, http.MethodPost, "/assign-token", object{"wait": "30s"})
	if next.Token != drawn || next.Fence <= last.Fence {
		t.Errorf("the copy gives %q with fence %d, after %d was issued", next.Token, next.Fence, last.Fence)
	}
	q.kill()
	marksByHand(t, filepath.Join(dir, "data"))
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// marksByHand says of a data directory that a copy was put back there, which only whoever did it can know.
func marksByHand(t *testing.T, dir string) {
	t.Helper()
	if out := runTMS(t, false, "restore", "--mark", dir+"-that-is-none"); !strings.Contains(out, dir+"-that-is-none") {
		t.Errorf("of a directory that is none it says:\n%s", out)
	}
	for _, marked := range []bool{false, true} {
		if marked {
			runTMS(t, true, "restore", "--mark", dir)
		}
		p := startServe(t, "--store", "embedded:"+dir)
		shown := runTMS(t, true, "pool", "show", "default", "--server", p.url)
		if strings.Contains(shown, "settling until") != marked {
			t.Errorf("marked: %v; the pool shows\n%s", marked, shown)
		}
		p.kill()
	}
}

// Where there is no backup to be had, or no file, that is said, and nothing is left.
func TestBackupOfWhatHasNone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "backup.tar")
	p := startServe(t, "--store", "memory:")
	if out := runTMS(t, false, "backup", "--server", p.url, file); !strings.Contains(out, "in memory") {
		t.Errorf("backup says:\n%s", out)
	}
	if out := runTMS(t, false, "restore", file, filepath.Join(dir, "data")); !strings.Contains(out, "no such file") {
		t.Errorf("restore says:\n%s", out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v are left, %v", entries, err)
	}
}
