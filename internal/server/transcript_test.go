package server

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/manankarani/token-manager/api"
)

var policies = regexp.MustCompile(`"policy":{[^}]*}`)

var instances = regexp.MustCompile(`,"instance":"[^"]*"`)

var update = flag.Bool("update", false, "write the transcripts anew")

// TestTranscripts pins the wire of the verbs. A file of testdata holds
// requests, each a line "> METHOD path body", and what came back, as lines that begin with "< ". A line "# wait 5s"
// moves the store's clock. Everything else is a comment. Only pool.txt shows policies.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("found the transcripts %v, error %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := start(t, Config{}).replay(string(text))
			if filepath.Base(file) != "pool.txt" {
				got = policies.ReplaceAllString(got, `"policy":{…}`)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("the wire has changed (-%s +now); go test -update writes it anew:\n%s", file, diff)
			}
		})
	}
}

// replay sends the requests of a transcript and returns it with what came back.
func (h *harness) replay(transcript string) string {
	h.t.Helper()
	var out strings.Builder
	for line := range strings.Lines(transcript) {
		if strings.HasPrefix(line, "< ") {
			continue
		}
		out.WriteString(line)
		if wait, ok := strings.CutPrefix(line, "# wait "); ok {
			d, err := time.ParseDuration(strings.TrimSpace(wait))
			if err != nil {
				h.t.Fatal(err)
			}
			h.advance(d)
		}
		if request, ok := strings.CutPrefix(line, "> "); ok {
			parts := append(strings.SplitN(strings.TrimSpace(request), " ", 3), "")
			out.WriteString(h.do(parts[0], parts[1], parts[2]).transcript())
		}
	}
	return out.String()
}

// transcript has the status, the headers that clients go by, and the body, broken at the results of a batch.
func (a answer) transcript() string {
	var out strings.Builder
	fmt.Fprintf(&out, "< %d\n", a.status)
	for _, name := range []string{"Content-Type", "Cache-Control", "Retry-After", "Allow"} {
		value := a.header.Get(name)
		usual := name == "Content-Type" && value == api.JSON || name == "Cache-Control" && value == "no-store"
		if value != "" && !usual {
			fmt.Fprintf(&out, "< %s: %s\n", name, value)
		}
	}
	if a.header.Get("Cache-Control") != "no-store" {
		out.WriteString("< it may be cached\n")
	}
	text := instances.ReplaceAllString(a.text, "") // see TestRequestsHaveNames
	for line := range strings.Lines(strings.ReplaceAll(text, `},{"`, "},\n{\"")) {
		fmt.Fprintf(&out, "< %s\n", strings.TrimSpace(line))
	}
	return out.String()
}
