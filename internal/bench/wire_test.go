package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// heard is a server that notes what it is asked, and answers as it is told.
type heard struct {
	mu      sync.Mutex
	asked   []string
	status  int
	answer  string
	closing bool
}

func (h *heard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	h.asked = append(h.asked, fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Authorization"), " ",
		string(body)))
	if h.closing {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(h.status)
	io.WriteString(w, h.answer)
}

func wired(t *testing.T, secure bool) (*heard, Conn) {
	h := &heard{status: http.StatusOK, answer: `{"token":"a\u00e4","lease_id":"l"}`}
	server := httptest.NewUnstartedServer(h)
	w := Wire{Pool: "p", Key: func() (string, error) { return "k", nil }}
	if server.Start(); secure {
		server.Close()
		server = httptest.NewTLSServer(h)
		w.TLS = server.Client().Transport.(*http.Transport).TLSClientConfig
	}
	t.Cleanup(server.Close)
	w.URL, _ = url.Parse(server.URL + "/base/")
	conn := w.Connect()
	t.Cleanup(func() { conn.Close() })
	return h, conn
}

func TestTheWireSaysWhatAClientSays(t *testing.T) {
	for _, secure := range []bool{false, true} {
		h, conn := wired(t, secure)
		key, err := conn.Do(t.Context(), Assign, tms.LeaseKey{})
		if err != nil || key.Token != "aä" || key.LeaseID != "l" {
			t.Fatalf("got %v, %v", key, err)
		}
		for _, verb := range []string{KeepAlive, Unblock, Delete, Lookup, Generate} {
			if _, err := conn.Do(t.Context(), verb, key); err != nil {
				t.Fatal(verb, err)
			}
		}
		both, want := `{"pool":"p","token":"aä","lease_id":"l"}`, []string{}
		for _, said := range []string{api.PathAssign + ` {"pool":"p","client_id":"bench"}`,
			api.PathKeepAlive + " " + both, api.PathUnblock + " " + both, api.PathDelete + " " + both,
			api.PathLookup + ` {"pool":"p","token":"aä"}`,
			api.PathGenerate + ` {"pool":"p","count":1}`} {
			path, body, _ := strings.Cut(said, " ")
			method := "POST"
			if path == api.PathDelete {
				method = "DELETE"
			}
			want = append(want, method+" /base"+path+" Bearer k "+body)
		}
		if got := strings.Join(h.asked, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("it said\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	}
}

func TestTheWireHearsRefusalsAndComesBack(t *testing.T) {
	h, conn := wired(t, false)
	h.status, h.answer, h.closing = http.StatusNotFound, `{"code":"no_token_available"}`, true
	for range 3 { // each time over another connection
		if _, err := conn.Do(t.Context(), Assign, tms.LeaseKey{}); tms.CodeOf(err) != tms.ErrNoTokenAvailable {
			t.Fatalf("got %v", err)
		}
	}
	for _, answer := range []string{"", "<html>", "{}"} {
		h.mu.Lock()
		h.status, h.answer = http.StatusOK, answer
		h.mu.Unlock()
		if _, err := conn.Do(t.Context(), Assign, tms.LeaseKey{}); err == nil || tms.CodeOf(err) != "" {
			t.Errorf("%q: got %v", answer, err)
		}
	}
}
