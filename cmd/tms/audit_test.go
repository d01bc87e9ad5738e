package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/access"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// The file of the audit is renamed, and SIGHUP has the server write to a new one.
func TestTheAuditIsRotated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	p := startServe(t, "--store", "memory:", "--audit", "on", "--audit-file", file)
	if said := "audit: on, to " + file + "\n"; !strings.Contains(p.stdout.String(), said) {
		t.Errorf("the greeting lacks %q", said)
	}
	p.must(201, http.MethodPost, "/generate-token", object{"tokens": []string{"a"}})
	p.audits(file, `"verb":"generate"`)
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.audits(file, "") // it is there
	p.must(200, http.MethodPost, "/assign-token", object{})
	p.audits(file, `"verb":"assign"`)
	if err := p.stop(); err != nil {
		t.Errorf("it ends with %v: %s", err, p.stderr)
	}
	if old, _ := os.ReadFile(file + ".1"); strings.Contains(string(old), "assign") {
		t.Errorf("the old file has what came after the signal: %s", old)
	}
}

// audits waits until the file has the text.
func (p *process) audits(file, want string) {
	p.t.Helper()
	var text []byte
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var err error
		if text, err = os.ReadFile(file); err == nil && strings.Contains(string(text), want) {
			return
		}
	}
	p.t.Fatalf("%s lacks %s: %s", file, want, text)
}

// Keys, lease_ids, tokens, request_ids and the password of Redis go through a server that says all it can, in good
// times and in bad, and stand nowhere but in answers.
func TestNoSecretIsSaid(t *testing.T) {
	redis := redistest.New(t, "--requirepass", "canary-password")
	file, key := withKeys(t)
	audited := filepath.Join(t.TempDir(), "audit.jsonl")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "store: redis://:canary-password@%s\naudit: required\naudit_file: %s\nlog_level: debug\n",
		redis.Addr, audited)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, "--config", file, "--store-timeout", "300ms")
	wrong := access.NewKey()
	secrets := append(p.trySecrets(key), key, wrong, "canary-password")
	p.trySecrets(wrong)
	said := p.metricsAs(key) + p.processList()
	redis.Stop()
	p.trySecrets(key)
	p.kill()
	written, err := os.ReadFile(audited)
	if err != nil {
		t.Fatal(err)
	}
	said += p.stdout.String() + p.stderr.String() + string(written)
	seen := []string{"tms_operations_total", "level=DEBUG", `"verb":"assign"`, "unauthenticated", "serve"}
	for _, want := range seen {
		if !strings.Contains(said, want) {
			t.Errorf("what is looked at lacks %s", want)
		}
	}
	for _, secret := range append(secrets, "canary") {
		for line := range strings.Lines(said) {
			if strings.Contains(line, secret) {
				t.Errorf("%q is said: %s", secret, line)
			}
		}
	}
}

// trySecrets sends every verb with secrets in it, and errors about them, whatever the answers. It returns the lease_ids
// that it has learnt.
func (p *process) trySecrets(key string) (learnt []string) {
	p.t.Helper()
	c, err := client.New(p.url, client.WithKey(key), client.WithRetryFor(0))
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	tokens := []tms.NewToken{{Value: "canary-1", Metadata: map[string]string{"password": "canary-metadata"}},
		{Value: "canary-2"}, {Value: "canary-3"}}
	c.Generate(ctx, "default", tms.GenerateRequest{Tokens: tokens, RequestID: "canary-request"})
	results, _ := c.Assign(ctx, "default", []tms.AssignRequest{{Count: 2, RequestID: "canary-assign"}})
	keys := []tms.LeaseKey{{Token: "canary-none"}, {Token: "canary-1", LeaseID: "canary-lease"}}
	for _, result := range results {
		for _, token := range result.Tokens {
			learnt = append(learnt, token.Lease.ID)
			keys = append(keys, tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID})
		}
	}
	c.KeepAlive(ctx, "default", keys)
	c.Token(ctx, "default", tms.LeaseKey{Token: "canary-1"})
	c.Token(ctx, "default", tms.LeaseKey{Token: "canary-none"})
	c.Unblock(ctx, "default", keys)
	c.Restore(ctx, "default", []string{"canary-1"})
	c.Delete(ctx, "default", keys)
	c.UnblockRequest(ctx, "default", "canary-assign")
	c.Tokens(ctx, "default", tms.Filter{}, "canary-cursor", 10)
	bad := []string{`{"token":"canary-1","lease_id":7}`, `{"canary":1}`, `canary`, `{"token":"canary\u0000"}`}
	for _, body := range bad {
		p.post("/keep-alive?token=canary-1", key, body)
		p.post("/keep-alive", key, body)
	}
	return learnt
}

func (p *process) post(path, key, body string) {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+key)
	if response, err := p.client.Do(r); err == nil {
		response.Body.Close()
	}
}

func (p *process) metricsAs(key string) string {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	response, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// processList returns how others see the process, where the system tells.
func (p *process) processList() string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
	return strings.ReplaceAll(string(text), "\x00", " ")
}
