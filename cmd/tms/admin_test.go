package main

import (
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Profiles are on the admin's listener, and nowhere else; that is for this machine alone.
func TestProfilesAreForTheAdmin(t *testing.T) {
	p := startServe(t, "--store", "memory:", "--admin-listen", "127.0.0.1:0")
	var said []string
	eventually(t, "it says where the admin is", func() bool {
		said = regexp.MustCompile(`admin: (http://\S+/debug/pprof/)\n`).FindStringSubmatch(p.stdout.String())
		return said != nil
	})
	for _, path := range []string{"", "heap", "goroutine?debug=1", "profile?seconds=1"} {
		if status := p.status(t, said[1]+path, ""); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status := p.status(t, said[1]+"heap", "evil.example"); status != 403 {
		t.Errorf("by another name: %d", status)
	}
	if status := p.status(t, p.url+"/debug/pprof/heap", ""); status != 404 {
		t.Errorf("on the listener for all: %d", status)
	}
	if err := p.stop(); err != nil {
		t.Errorf("it ends with %v: %s", err, p.stderr)
	}
	out, err := exec.Command("tms", "serve", "--store", "memory:", "--listen", "127.0.0.1:0", "--admin-listen",
		"0.0.0.0:0", "--insecure").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "admin_listen: 0.0.0.0:0 is reachable from other machines") {
		t.Errorf("for all machines: %s, error %v", out, err)
	}
}

// status returns that of a GET, by the name of a host; empty: by that of the URL.
func (p *process) status(t *testing.T, url, host string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	response, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
