package server

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A page that somebody visits must not reach the server on that person's machine: an empty body is all that some
// operations need, and browsers send such a request to any address without asking.
func TestPagesOfOtherOriginsChangeNothing(t *testing.T) {
	h := start(t, Config{})
	for name, header := range map[string][2]string{
		"by its kind":   {"Sec-Fetch-Site", "cross-site"},
		"by its origin": {"Origin", "https://evil.example"},
	} {
		r, err := http.NewRequest(http.MethodPost, h.url+"/generate-token", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(header[0], header[1])
		if a := h.send(r); a.status != http.StatusForbidden {
			t.Errorf("a request of another origin, told %s: %d %s", name, a.status, a.text)
		}
	}
	r, _ := http.NewRequest(http.MethodPost, h.url+"/generate-token", nil)
	r.Header.Set("Origin", h.url)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if a := h.send(r); a.status != http.StatusCreated {
		t.Errorf("a request of the server's own pages: %d %s", a.status, a.text)
	}
	if _, stats, err := h.store.Pool(t.Context(), "default"); err != nil || stats.Total() != 1 {
		t.Errorf("there are %d tokens, %v", stats.Total(), err)
	}
}

// A page can have the name of its own host lead to this machine, so that its browser takes the server for the page's
// own.
func TestAServerForThisMachineAnswersToNoOtherName(t *testing.T) {
	h := start(t, Config{LocalOnly: true})
	for host, want := range map[string]int{"evil.example": 403, "evil.example:8080": 403, "localhost.evil.example": 403,
		".": 201, "localhost.": 201,
		"": 201, "localhost": 201, "LOCALHOST:8080": 201, "tms.localhost:1": 201, "127.0.0.1:80": 201, "[::1]:80": 201,
		"10.1.2.3": 201} {
		r, err := http.NewRequest(http.MethodPost, h.url+"/generate-token", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		if a := h.send(r); a.status != want {
			t.Errorf("Host %q: %d %s", host, a.status, a.text)
		}
	}
}

// A health check of HTTP/1.0 may name no host; a browser always does.
func TestARequestWithoutAHostIsAnswered(t *testing.T) {
	c := serve(t, Config{LocalOnly: true}).dial(t)
	io.WriteString(c, "GET /livez HTTP/1.0\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if line, err := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, "200 OK") {
		t.Errorf("it is answered %q, error %v", line, err)
	}
}
