package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/audit"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// audited is a server whose changes are written down.
type audited struct {
	*guarded
	path string
}

func auditing(t *testing.T, opened tms.Sweeper, required bool) audited {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit")
	log, err := audit.Open(path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Audit: log, Required: required}
	a := audited{serveOptions(t, opened, true, o), path}
	t.Cleanup(func() { log.Close() })
	return a
}

func onEachAudited(t *testing.T, required bool, test func(t *testing.T, a audited)) {
	t.Run("embedded", func(t *testing.T) {
		opened, err := embedded.Open(embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		test(t, auditing(t, opened, required))
	})
	t.Run("redis", func(t *testing.T) { test(t, auditing(t, openRedis(t, redistest.New(t)), required)) })
}

// lines returns what is written down, once there are so many, and that no line follows them.
func (a audited) lines(want int) (lines []audit.Line) {
	a.Helper()
	for deadline := time.Now().Add(5 * time.Second); len(lines) < want && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		lines = a.written()
	}
	if len(lines) != want {
		a.Fatalf("%d lines, want %d: %+v", len(lines), want, lines)
	}
	return lines
}

func (a audited) written() (lines []audit.Line) {
	a.Helper()
	text, err := os.ReadFile(a.path)
	a.must(err)
	for line := range strings.Lines(string(text)) {
		var one audit.Line
		a.must(json.Unmarshal([]byte(line), &one))
		lines = append(lines, one)
	}
	return lines
}

// work does each of the changes once, as the key boss, and returns what nobody may read of it, and the lines in short.
func (a audited) work(c *client.Client) (secrets []string, want []string) {
	a.Helper()
	ctx := a.Context()
	_, err := c.PutPool(ctx, "p", tms.PolicyChange{MaxLeasesPerClient: new(9)})
	a.must(err)
	values := []tms.NewToken{{Value: "secret-1"}, {Value: "secret-2"}, {Value: "secret-3"}, {Value: "secret-4"}}
	_, err = c.Generate(ctx, "p", tms.GenerateRequest{Tokens: values, RequestID: "secret-request"})
	a.must(err)
	taken, err := c.Assign(ctx, "p", []tms.AssignRequest{{Count: 4, ClientID: "me", RequestID: "secret-assign"}})
	a.must(errors.Join(err, taken[0].Err))
	var keys []tms.LeaseKey
	for _, token := range taken[0].Tokens {
		keys, secrets = append(keys, proofOf(token)), append(secrets, token.Lease.ID)
	}
	kept, err := c.KeepAlive(ctx, "p", keys)
	a.must(errors.Join(err, kept[0].Err))
	back, err := c.Unblock(ctx, "p", []tms.LeaseKey{keys[0], {Token: keys[1].Token, Quarantine: true}})
	a.must(errors.Join(err, back[0].Err, back[1].Err))
	restored, err := c.Restore(ctx, "p", []string{keys[1].Token})
	a.must(errors.Join(err, restored[0].Err))
	gone, err := c.Delete(ctx, "p", []tms.LeaseKey{keys[2]})
	a.must(errors.Join(err, gone[0]))
	_, err = c.UnblockClient(ctx, "p", "me")
	a.must(err)
	_, err = c.UnblockRequest(ctx, "p", "secret-assign")
	a.must(err)
	_, _, err = c.Pool(ctx, "p")
	a.must(err)
	_, err = c.Tokens(ctx, "p", tms.Filter{}, "", 10)
	a.must(err)
	a.must(c.DeletePool(ctx, "p"))
	want = []string{"put_pool", "generate 4", "assign me", "assign me", "assign me", "assign me", "unblock",
		"unblock forced", "restore", "delete", "unblock_client me 1", "unblock_request", "delete_pool"}
	return append(secrets, "secret-", a.keys["boss"]), want
}

// inShort is what differs between lines of one key and pool.
func inShort(l audit.Line) string {
	text := l.Verb
	if l.ClientID != "" {
		text += " " + l.ClientID
	}
	if l.Count > 0 {
		text += fmt.Sprint(" ", l.Count)
	}
	if l.Forced {
		text += " forced"
	}
	return text
}

// Every change is written down, and nothing that is none; and of no line can anybody learn a secret.
func TestEveryChangeIsWrittenDown(t *testing.T) {
	onEachAudited(t, false, func(t *testing.T, a audited) {
		a.admit("boss", time.Time{}, "all")
		secrets, want := a.work(a.as("boss"))
		lines := a.lines(len(want))
		tokens := map[string]int{}
		for i, line := range lines {
			if inShort(line) != want[i] || line.Key != "boss" || line.Pool != "p" || line.Outcome != "ok" ||
				line.Address.String() != "127.0.0.1" || line.ID == "" || time.Since(line.Time) > time.Minute ||
				(line.Fence > 0) != (line.Verb == "assign") {
				t.Errorf("line %d is %+v, want %s", i, line, want[i])
			}
			if line.Token != "" {
				tokens[line.Token]++
			}
		}
		if len(tokens) != 4 || lines[3].Token != lines[6].Token && lines[2].Token != lines[6].Token {
			t.Errorf("tokens are not told apart, or not known again: %v", tokens)
		}
		if lines[2].RequestID == "" || lines[2].RequestID != lines[11].RequestID || lines[2].ID != lines[5].ID {
			t.Errorf("a request or a call is not known again: %+v %+v", lines[2], lines[11])
		}
		text, _ := os.ReadFile(a.path)
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("the audit has %s", secret)
			}
		}
	})
}

// Whoever is refused for want of rights is written down; other refusals, which changed nothing, are not.
func TestWhoIsRefusedIsWrittenDown(t *testing.T) {
	onEachAudited(t, false, func(t *testing.T, a audited) {
		a.admit("boss", time.Time{}, "all")
		a.admit("ci", time.Time{}, "hold@p", "fill@p")
		c, ctx := a.as("ci"), t.Context()
		_, err := a.as("boss").PutPool(ctx, "p", tms.PolicyChange{})
		a.must(err)
		c.Generate(ctx, "q", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
		c.Assign(ctx, "p", []tms.AssignRequest{{}}) // there is none
		c.Token(ctx, "p", tms.LeaseKey{Token: "x"})
		c.Pools(ctx, "", 10) // which shows fewer
		_, err = a.as("boss").Generate(ctx, "p", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "x"}}})
		a.must(err)
		_, err = a.as("boss").Assign(ctx, "p", []tms.AssignRequest{{}})
		a.must(err)
		c.Unblock(ctx, "p", []tms.LeaseKey{{Token: "x"}})
		c.KeepAlive(ctx, "p", []tms.LeaseKey{{Token: "x"}})
		a.get("/metrics", "Bearer "+a.keys["ci"])
		a.get("/pools", "Bearer nonsense")
		want := []string{"put_pool boss ok", "generate ci not_permitted", "token ci not_permitted", "generate boss ok",
			"assign boss ok", "unblock ci not_holder", "keep_alive ci not_holder", "/metrics ci not_permitted",
			"/pools  unauthenticated"}
		for i, line := range a.lines(len(want)) {
			if got := line.Verb + " " + line.Key + " " + line.Outcome; got != want[i] {
				t.Errorf("line %d is %q, want %q", i, got, want[i])
			}
		}
	})
}

// Keys that are made and removed are written down, with their names and IDs and nothing else of them.
func TestChangesOfKeysAreWrittenDown(t *testing.T) {
	for _, required := range []bool{false, true} {
		onEachAudited(t, required, func(t *testing.T, a audited) {
			a.admit("boss", time.Time{}, "all")
			key := a.keep("ci", tms.Grant{Right: tms.Hold, Pools: "*"})
			a.as("ci").Keys(t.Context(), nil)
			_, err := a.as("boss").DeleteKey(t.Context(), "ci", key.ID)
			a.must(err)
			want := []string{"put_key boss ci " + key.ID + " 0 ok", "keys ci   0 not_permitted",
				"delete_key boss ci " + key.ID + " 1 ok"}
			lines := a.lines(len(want) + map[bool]int{true: 2}[required])
			lines = slices.DeleteFunc(lines, func(l audit.Line) bool { return l.Outcome == "intent" })
			for i, l := range lines {
				got := strings.Join([]string{l.Verb, l.Key, l.Name, l.KeyID, fmt.Sprint(l.Count), l.Outcome}, " ")
				if got != want[i] {
					t.Errorf("line %d is %q, want %q", i, got, want[i])
				}
			}
			text, _ := os.ReadFile(a.path)
			if strings.Contains(string(text), key.Hash) || strings.Contains(string(text), a.keys["ci"]) {
				t.Errorf("the audit tells of the key: %s", text)
			}
		})
	}
}

// Where an audit is required, an intent comes before each change, and an outcome after it, whatever that is.
func TestAnAuditThatIsRequired(t *testing.T) {
	onEachAudited(t, true, func(t *testing.T, a audited) {
		a.admit("boss", time.Time{}, "all")
		_, want := a.work(a.as("boss"))
		a.as("boss").Assign(t.Context(), "default", []tms.AssignRequest{{}})
		lines := a.lines(len(want) + 6 + 2)
		open := map[string]string{}
		for _, line := range lines {
			if line.Outcome == "intent" {
				open[line.ID] = line.Verb
				continue
			}
			if intended := !strings.HasPrefix(line.Verb, "unblock"); intended && open[line.ID] != line.Verb {
				t.Errorf("a change without intent: %+v", line)
			}
		}
		if last := lines[len(lines)-1]; len(open) != 7 || last.Outcome != "no_token_available" {
			t.Errorf("the intents %v, and at last %+v", open, last)
		}
	})
}

// A line of the audit has the name of its request, which the answer has, too: what the caller called it, or one drawn.
func TestTheAuditNamesRequests(t *testing.T) {
	opened, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := auditing(t, opened, false)
	key := a.admit("boss", time.Time{}, "run")
	for n, given := range []string{"deploy-7", ""} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, a.url+"/pools/p", nil)
		a.must(err)
		request.Header.Set("Authorization", "Bearer "+key)
		if given != "" {
			request.Header.Set("X-Request-Id", given)
		}
		response, err := http.DefaultClient.Do(request)
		a.must(err)
		response.Body.Close()
		answered := response.Header.Get("X-Request-Id")
		if line := a.lines(n + 1)[n]; answered == "" || line.Trace != answered || given != "" && given != answered {
			t.Errorf("%q is answered as %q, and written down as %q", given, answered, line.Trace)
		}
	}
}
