package server

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var curl = regexp.MustCompile(`(?m)^curl(?: -X (\w+))?(?: --json '(.*)')? localhost:8080(/\S*)$`)

// TestTheReferenceHasEveryRouteAndCode reads docs/http.md: it has a section with a curl line for each route, and each
// code with its status.
func TestTheReferenceHasEveryRouteAndCode(t *testing.T) {
	text := read(t, "../../docs/http.md")
	for _, r := range New(Config{}).routes() {
		_, section, found := strings.Cut(text, "\n### "+r.method+" "+r.pattern+"\n")
		section, _, _ = strings.Cut(section, "\n### ")
		if !found || !curl.MatchString(section) {
			t.Errorf("docs/http.md has no section %s %s with a curl line", r.method, r.pattern)
		}
	}
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range doc.Components.Schemas["Code"].Value.Enum {
		row := fmt.Sprintf("\n| `%s` | %d | ", code, api.Status(tms.Code(code.(string))))
		if !strings.Contains(text, row) {
			t.Errorf("docs/http.md has no row%s", row)
		}
	}
}

// everybody lets everybody do everything.
type everybody struct{}

func (everybody) Enter(ctx context.Context, _ []string, _ *x509.Certificate) (context.Context, error) {
	return ctx, nil
}
func (everybody) Everywhere(context.Context, tms.Right) error { return nil }
func (everybody) Who(context.Context) (tms.Caller, error)     { return tms.Caller{}, nil }

// TestTheReferenceIsTrue sends the requests of docs/http.md, one after the other, to a new server whose every lease has
// the lease_id of the reference.
func TestTheReferenceIsTrue(t *testing.T) {
	store, err := embedded.Open(embedded.Options{NewID: func() string { return "1mVD2bkk1n4cEsbPZNMPo0" }})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	h := start(t, Config{Store: store, Access: everybody{}, Backup: backupOf("a backup", nil),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
		})})
	lines := curl.FindAllStringSubmatch(read(t, "../../docs/http.md"), -1)
	if len(lines) < len(New(Config{}).routes()) {
		t.Fatalf("found %d curl lines", len(lines))
	}
	for _, line := range lines {
		method := line[1]
		if method == "" {
			method = http.MethodPost
		}
		if a := h.do(method, line[3], line[2]); a.status > 201 {
			t.Errorf("%s\nis answered %d %s", line[0], a.status, a.text)
		}
	}
}

// TestTheBalancerWaitsLonger reads deploy/nginx.conf.
func TestTheBalancerWaitsLonger(t *testing.T) {
	found := regexp.MustCompile(`\n\s*proxy_read_timeout (\d+)s;`).FindStringSubmatch(read(t,
		"../../deploy/nginx.conf"))
	if found == nil {
		t.Fatal("deploy/nginx.conf sets no proxy_read_timeout in seconds")
	}
	seconds, _ := strconv.Atoi(found[1])
	if wait := (Config{}).WithDefaults().MaxWait; time.Duration(seconds)*time.Second < wait+10*time.Second {
		t.Errorf("nginx gives up after %d s; a request may wait for %v", seconds, wait)
	}
}

// TestTheBalancerGuardsNames reads deploy/nginx.conf: it passes on requests for this machine only, and logs no request.
func TestTheBalancerGuardsNames(t *testing.T) {
	text := read(t, "../../deploy/nginx.conf")
	for _, want := range []string{
		`\n    server \{\s+listen 8080 default_server;\s+default_type application/problem\+json;\s+return 403 ` +
			`'\{.*"code":"forbidden"`,
		`\n    server \{\s+listen 8080;\s+server_name localhost 127\.0\.0\.1 \[::1\];\s`,
		`\n    access_log off;`,
		`\n    error_log stderr alert;`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("deploy/nginx.conf has no %s", want)
		}
	}
}

// TestImagesKnowTheirVersion reads the Dockerfile and what feeds it: the version is an argument that compose passes on,
// and git is there to be asked.
func TestImagesKnowTheirVersion(t *testing.T) {
	for file, want := range map[string]string{
		"Dockerfile":   `ARG VERSION\nRUN version=\$\{VERSION:-\$\(git describe (?s:.*)-X main\.version=\$version`,
		"compose.yaml": `args:\n\s+VERSION: \$\{VERSION:-\}`,
	} {
		if !regexp.MustCompile(want).MatchString(read(t, "../../"+file)) {
			t.Errorf("%s has no %s", file, want)
		}
	}
	if strings.Contains(read(t, "../../.dockerignore"), ".git") {
		t.Error(".dockerignore hides the version from the build")
	}
}
