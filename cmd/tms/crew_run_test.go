package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// Two servers on one Redis: 64 clients compete for 10 tokens, some of which are forgotten and come back by themselves.
// No token is held twice, none is lost, and the fences of each rise.
func TestTwoServersShareTenTokens(t *testing.T) {
	store := redistest.New(t).URL()
	a, b := startServe(t, "--store", store), startServe(t, "--store", store)
	made := a.must(201, http.MethodPost, "/generate-token", object{"count": 10})
	if made.Created != 10 {
		t.Fatalf("%d tokens were made", made.Created)
	}
	c := newCrew("default", time.Second)
	c.work(t, 64, 10*time.Second, a, b)
	if lost := 10 - len(c.census(t, b)); lost != 0 || len(c.fences) != 10 {
		t.Errorf("%d of 10 tokens are lost, %d were used", lost, len(c.fences))
	}
}

// The main job on real input: 5,000 phone numbers go into a pool with one request, 50 clients lease them for
// MAIN_JOB_LASTS (a minute, unless it says otherwise), and at the end every number is in the pool once.
func TestMainJob(t *testing.T) {
	d, err := time.ParseDuration(os.Getenv("MAIN_JOB_LASTS"))
	if err != nil {
		d = time.Minute
	}
	numbers := phoneNumbers(t)
	for name, store := range map[string]func(t *testing.T) string{
		"embedded": func(t *testing.T) string { return "embedded:" + t.TempDir() },
		"redis":    func(t *testing.T) string { return redistest.New(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startServe(t, "--store", store(t))
			p.must(201, http.MethodPut, "/pools/phones", object{"token_ttl": "0s"})
			if made := p.must(201, http.MethodPost, "/generate-token",
				object{"pool": "phones", "tokens": numbers}); made.Created != len(numbers) {
				t.Fatalf("%d of %d numbers were loaded", made.Created, len(numbers))
			}
			c := newCrew("phones", 2*time.Second)
			c.work(t, 50, d, p)
			if left := c.census(t, p); !slices.Equal(left, numbers) {
				t.Errorf("%d of %d numbers are there at the end", len(left), len(numbers))
			}
		})
	}
}

// phoneNumbers returns, in order, what the script prints.
func phoneNumbers(t *testing.T) []string {
	t.Helper()
	text, err := exec.Command("../../scripts/phone-numbers", "5000").Output()
	if err != nil {
		t.Fatal(err)
	}
	numbers := strings.Split(strings.TrimSpace(string(text)), "\n")
	if slices.Sort(numbers); len(slices.Compact(slices.Clone(numbers))) != 5000 {
		t.Fatalf("the script printed %d numbers", len(numbers))
	}
	return numbers
}

// get reads a page of the server's state.
func (p *process) get(t testing.TB, path string, into any) {
	t.Helper()
	response, err := p.client.Get(p.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil || response.StatusCode != 200 {
		t.Fatalf("GET %s: %d, %v", path, response.StatusCode, err)
	}
}
