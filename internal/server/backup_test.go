package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// fakeBackup writes a text, and fails then if it is told to.
type fakeBackup struct {
	text   string
	err    error
	closed *bool
}

func (b fakeBackup) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, b.text)
	return int64(n), errors.Join(err, b.err)
}

func (b fakeBackup) Close() error {
	*b.closed = true
	return nil
}

func backupOf(text string, err error) func(context.Context) (Backup, error) {
	return func(context.Context) (Backup, error) { return fakeBackup{text, err, new(bool)}, nil }
}

// askBackup asks for a backup, with a change of the request.
func askBackup(t *testing.T, h *harness, change func(*http.Request)) (status int, text string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+api.PathBackup, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(r)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// A backup is given to programs on this machine, whether or not the server is open to others, and to nobody else: not
// through a proxy, not for a page of another origin, not by the name of another host.
func TestABackupStaysOnThisMachine(t *testing.T) {
	for _, localOnly := range []bool{true, false} {
		h := start(t, Config{Backup: backupOf("all of it", nil), LocalOnly: localOnly})
		status, text, err := askBackup(t, h, func(*http.Request) {})
		if status != 200 || text != "all of it" || err != nil {
			t.Errorf("from this machine: %d %q, %v", status, text, err)
		}
		for name, change := range map[string]func(*http.Request){
			"X-Forwarded-For": func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") },
			"Forwarded":       func(r *http.Request) { r.Header.Set("Forwarded", "for=127.0.0.1") },
			"Via":             func(r *http.Request) { r.Header.Set("Via", "1.1 proxy") },
			"a page":          func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
			"another host":    func(r *http.Request) { r.Host = "rebound.example:8080" },
		} {
			if status, text, _ := askBackup(t, h, change); status != 403 || !strings.Contains(text, `"forbidden"`) {
				t.Errorf("%s, local only %v: %d %s", name, localOnly, status, text)
			}
		}
	}
	for _, addr := range []string{"10.0.0.1:4711", "", "@", "[2001:db8::1]:4711"} {
		if err := onThisMachine(&http.Request{RemoteAddr: addr,
			Host: "localhost"}); tms.CodeOf(err) != tms.ErrForbidden {
			t.Errorf("from %q: %v", addr, err)
		}
	}
}

// A backup that cannot be written to its end is cut off, so that nobody takes it for whole.
func TestABackupThatFailsIsCutOff(t *testing.T) {
	h := start(t, Config{Backup: backupOf("the beginning", errors.New("the disk is broken"))})
	if status, text, err := askBackup(t, h, func(*http.Request) {}); err == nil {
		t.Errorf("%d %q, and no error", status, text)
	}
}

func TestWhereThereIsNoBackup(t *testing.T) {
	start(t, Config{}).refused(tms.ErrNotFound, "", "GET", api.PathBackup, "")
}
