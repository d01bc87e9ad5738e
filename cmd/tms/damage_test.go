package main

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A server does not start on a log that has rotted: it says so in one line, which names what to do. After that it
// starts.
func TestServeRefusesARottenLogUntilItIsRepaired(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, "--store", "embedded:"+dir)
	p.must(201, http.MethodPost, "/generate-token", object{"tokens": []string{"a"}})
	p.must(201, http.MethodPost, "/generate-token", object{"tokens": []string{"b"}})
	p.kill()
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	log := slices.Max(logs)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	text[25] ^= 1
	if err := os.WriteFile(log, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out := runTMS(t, false, "serve", "--listen", "127.0.0.1:0", "--store", "embedded:"+dir)
	if strings.Count(out, "\n") != 1 || !strings.Contains(out, "tms repair "+dir) {
		t.Errorf("serve says:\n%s", out)
	}
	if out := runTMS(t, true, "repair", dir); !strings.Contains(out, filepath.Base(log)+" is cut to ") {
		t.Errorf("repair says:\n%s", out)
	}
	if out := runTMS(t, true, "repair", dir); out != "nothing is damaged, nothing was done\n" {
		t.Errorf("repair says afterwards:\n%s", out)
	}
	p = startServe(t, "--store", "embedded:"+dir)
	p.must(201, http.MethodPost, "/generate-token", nil)
}
