// Package python tests the client for Python against real servers.
package python

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/node"
	"github.com/manankarani/token-manager/internal/server"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/tmstest"
)

// program is a program in Python that a test runs. It says lines, and reads them.
type program struct {
	testing.TB
	cmd    *exec.Cmd
	lines  *bufio.Reader
	in     io.Writer
	errors *strings.Builder
}

// run begins a program that has imported tms. Its say writes a line that the test hears, its hear reads one.
func run(t testing.TB, url, text string) *program {
	t.Helper()
	if _, err := os.ReadFile("tms.py"); err != nil { // so that the go command knows on what the test depends
		t.Fatal(err)
	}
	head := "import sys, time, tms\ndef say(*what): print(*what, flush=True)\ndef hear(): return sys.stdin.readline()\n"
	p := &program{TB: t, cmd: exec.Command("python3", "-c", head+text), errors: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), "TMS_SERVER="+url, "TMS_KEY=tms_key", "TMS_CA_FILE=", "PYTHONPATH=.",
		"PYTHONDONTWRITEBYTECODE=1")
	p.cmd.Stderr = p.errors
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewReader(out)
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	return p
}

// hears waits for the line that begins so, and returns the rest of it.
func (p *program) hears(want string) string {
	p.Helper()
	line, err := p.lines.ReadString('\n')
	if !strings.HasPrefix(line, want) {
		p.Fatalf("it says %q, want %q; %v; %s", line, want, err, p.errors)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, want))
}

// tells writes a line to it.
func (p *program) tells(line string) {
	p.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.Fatal(err)
	}
}

// ends waits until it has said all, and ended well.
func (p *program) ends() {
	p.Helper()
	rest, _ := io.ReadAll(p.lines)
	if err := p.cmd.Wait(); err != nil || len(rest) > 0 {
		p.Fatalf("it ends with %v, and says %q; %s", err, rest, p.errors)
	}
}

const second = time.Second

func serve(t testing.TB, change tms.PolicyChange, tokens ...string) *tmstest.Server {
	change.TokenTTL = new(time.Duration(0))
	return tmstest.New(t, tmstest.WithPool("lic", change, tokens...))
}

// known returns the token with its history.
func known(t testing.TB, s *tmstest.Server, token string) tms.Token {
	t.Helper()
	found, err := s.Store().Token(t.Context(), "lic", tms.LeaseKey{Token: token, History: true})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// until waits until it is so.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// waiting returns how many wait in the pool.
func waiting(t testing.TB, s *tmstest.Server) int {
	_, stats, err := s.Store().Pool(t.Context(), "lic")
	if err != nil {
		t.Fatal(err)
	}
	return stats.Waiting
}

// A lease is kept alive for longer than it lasts by itself, and given back at the end of its block.
func TestALeaseIsKeptAndGivenBack(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{LeaseTTL: new(3 * second)}, "KEY-1")
	p := run(t, s.URL, `
with tms.acquire("lic", client_id="job 7") as lease:
    say("holds", lease.token, lease.fence, 0 < lease.remaining() <= 3)
    hear()
    lease.check()
    say("kept", lease.lost.is_set())
say("done")
`)
	p.hears("holds KEY-1 ")
	time.Sleep(7 * second) // the lease is counted by the clock of the program
	if held := known(t, s, "KEY-1"); held.Lease == nil || held.Lease.ClientID != "job 7" {
		t.Errorf("the token is %+v", held)
	}
	p.tells("go on")
	p.hears("kept False")
	p.hears("done")
	p.ends()
	if past := known(t, s, "KEY-1"); past.State != tms.Available || past.Past.Ended[0].End != tms.EndReleased {
		t.Errorf("the token is %+v", past)
	}
}

// Who waits is served when a token comes back, and counts the lease from its beginning.
func TestAWaitIsServed(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{LeaseTTL: new(3 * second)})
	p := run(t, s.URL, `
lease = tms.acquire("lic", wait=None)
say("holds", lease.token, lease.remaining() > 1)
lease.release(quarantine=True)
lease.release()
say("done")
`)
	until(t, "it waits", func() bool { return waiting(t, s) == 1 })
	time.Sleep(4 * second) // for longer than a lease lasts
	if _, err := s.Store().Generate(t.Context(), "lic",
		tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "KEY-1"}}}); err != nil {
		t.Fatal(err)
	}
	p.hears("holds KEY-1 True")
	p.hears("done")
	p.ends()
	if past := known(t, s, "KEY-1"); past.State != tms.Quarantined || past.Past.Assigned != 1 {
		t.Errorf("the token is %+v", past)
	}
}

// A wait that ends in vain says so, with what the server said, and leaves nothing behind.
func TestAWaitThatEndsInVain(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{})
	p := run(t, s.URL, `
for wait in 0, 0.3:
    begun = time.monotonic()
    try:
        tms.acquire("lic", wait=wait)
    except tms.NoneAvailable as none:
        say(none.code, wait <= time.monotonic() - begun, none.detail != "")
`)
	p.hears("no_token_available True True")
	p.hears("no_token_available True True")
	p.ends()
	if n := waiting(t, s); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// Whoever is interrupted while it waits leaves no place behind, so that the next one is served at once.
func TestAnInterruptedWait(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{})
	p := run(t, s.URL, `
try:
    tms.acquire("lic", wait=60)
except KeyboardInterrupt:
    say("interrupted")
`)
	until(t, "it waits", func() bool { return waiting(t, s) == 1 })
	p.cmd.Process.Signal(syscall.SIGINT)
	p.hears("interrupted")
	p.ends()
	if n := waiting(t, s); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// Whoever gives up without an answer gives back what it was given, and will never hear of.
func TestWhoGivesUpHoldsNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{}, "KEY-1")
	s.LoseAnswers(1)
	p := run(t, s.URL, `
try:
    tms.Client(timeout=0.05).acquire("lic")
except tms.Unknown:
    say("unknown")
`)
	p.hears("unknown")
	p.ends()
	if past := known(t, s, "KEY-1"); past.State != tms.Available || past.Past.Assigned != 1 {
		t.Errorf("the token is %+v", past)
	}
}

// A server that lets nobody wait for long is asked more often.
func TestAServerWithAShortMaxWait(t *testing.T) {
	t.Parallel()
	store, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := node.New(store, node.Options{HTTP: server.Config{Limits: server.Limits{MaxWait: 2 * second}}})
	defer n.Close()
	served := httptest.NewServer(n.Handler())
	defer served.Close()
	p := run(t, served.URL, `
try:
    tms.acquire(wait=3)
except tms.NoneAvailable as none:
    say("none")
`)
	p.hears("none")
	p.ends()
}

// Answers that are lost cost nothing: of an assign, where a repeat would take a second token, of a generate, of a
// keep-alive, and of an unblock, whose repeat is refused.
func TestAnswersThatAreLost(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{LeaseTTL: new(5 * second)}, "KEY-1", "KEY-2")
	p := run(t, s.URL, `
for turn in range(3):
    hear()
    lease = tms.acquire("lic")
    say("holds", lease.token)
    hear()
    time.sleep(2.5)
    lease.check()
    say("kept")
    hear()
    lease.release()
    say("done")
hear()
say(len(tms.Client().generate("lic", count=2)))
`)
	lose := func(line, want string) {
		t.Helper()
		s.LoseAnswers(1)
		p.tells(line)
		p.hears(want)
	}
	for range 3 {
		lose("acquire", "holds")
		lose("keep", "kept")
		lose("release", "done")
	}
	lose("generate", "2")
	p.ends()
	_, stats, err := s.Store().Pool(t.Context(), "lic")
	if err != nil || stats.Available != 4 || stats.Expired.Total() != 0 {
		t.Errorf("the pool has %+v, error %v", stats, err)
	}
	if n := known(t, s, "KEY-1").Past.Assigned + known(t, s, "KEY-2").Past.Assigned; n != 3 {
		t.Errorf("%d leases began, want 3", n)
	}
}

// A server that is away for less than a lease lasts costs nothing.
func TestAServerThatIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{LeaseTTL: new(6 * second)}, "KEY-1")
	p := run(t, s.URL, `
with tms.acquire("lic") as lease:
    say("holds")
    hear()
    lease.check()
say("done")
`)
	p.hears("holds")
	s.Down()
	time.Sleep(3 * second) // over the time at which a keep-alive is due
	s.Up()
	time.Sleep(5 * second) // over the end that the lease had
	p.tells("go on")
	p.hears("done")
	p.ends()
}

// A server that is away for longer ends the lease: the holder knows before anybody else can be given the token, and
// the end of its block says so.
func TestALeaseThatIsLost(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{LeaseTTL: new(second)}, "KEY-1")
	p := run(t, s.URL, `
try:
    with tms.Client(timeout=1).acquire("lic") as lease:
        say("holds", time.time() + lease._ends - tms.now())
        lease.lost.wait()
        say("lost", lease.remaining())
        hear()
        try:
            lease.check()
        except tms.LeaseLost:
            say("checked")
except tms.LeaseLost:
    say("raised")
`)
	counted, err := strconv.ParseFloat(p.hears("holds "), 64)
	ends := known(t, s, "KEY-1").Lease.ExpiresAt.Add(time.Millisecond) // in whole ones; the last is still the holder's
	if err != nil || counted > float64(ends.UnixMicro())/1e6 {
		t.Errorf("the holder counts on the lease until %f, the server until %v; error %v", counted, ends, err)
	}
	s.Down()
	p.hears("lost 0")
	until(t, "the lease is over", func() bool { return known(t, s, "KEY-1").State == tms.Available })
	s.Up()
	p.tells("go on")
	p.hears("checked")
	p.hears("raised")
	p.ends()
}

// Somebody takes the token away: the holder hears of it with the next keep-alive. What went wrong in the block is what
// is raised.
func TestATokenThatIsTakenAway(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{LeaseTTL: new(second)}, "KEY-1")
	p := run(t, s.URL, `
try:
    with tms.acquire("lic") as lease:
        say("holds")
        lease.lost.wait()
        raise RuntimeError("stopped")
except RuntimeError as stopped:
    say(stopped)
`)
	p.hears("holds")
	if _, err := s.Store().Unblock(t.Context(), "lic", []tms.LeaseKey{{Token: "KEY-1"}}); err != nil {
		t.Fatal(err)
	}
	p.hears("stopped")
	p.ends()
}

// What cannot be meant is refused once, and named.
func TestWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{}, "KEY-1")
	p := run(t, s.URL, `
for options in {"pool": "none"}, {"match": {"seat": "Oslo"}}, {"ttl": "1ns"}, {"prefer": ""}, {"client_id": "a\n"}:
    try:
        tms.acquire(**{"pool": "lic", "wait": 5, **options})
    except tms.Refused as refused:
        say(refused.code, refused.field)
for server in "localhost", "ftp://localhost", "http://", "http://me@localhost":
    try:
        tms.Client(server)
    except ValueError as wrong:
        say("wrong")
begun = time.monotonic()
try:
    tms.Client("http://127.0.0.1:1", timeout=0.5).acquire("lic")
except tms.Unknown:
    say("unknown", time.monotonic() - begun < 10)
`)
	for _, want := range []string{"pool_not_found", "invalid_request match", "invalid_request ttl",
		"invalid_request prefer", "invalid_request client_id", "wrong", "wrong", "wrong", "wrong", "unknown True"} {
		p.hears(want)
	}
	p.ends()
}

// The key goes with every request, over TLS with a certificate that is trusted, and a server can have a path of its
// own. What answers and is no TMS is no refusal.
func TestTheKeyIsSent(t *testing.T) {
	t.Parallel()
	var asked []string
	proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Authorization"))
		if len(asked) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"status":403,"code":"not_permitted","detail":"no"}`)
	}))
	defer proxy.Close()
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0)
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	if err := os.WriteFile(trusted, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := run(t, proxy.URL+"/below/", `
try:
    tms.Client().generate("lic")
except OSError as stranger:
    say(type(stranger).__name__)
try:
    tms.Client(ca_file=hear().strip()).generate("lic")
except tms.Refused as refused:
    say(refused)
`)
	p.hears("SSLCertVerificationError")
	p.tells(trusted)
	p.hears("not_permitted: no")
	p.ends()
	if want := "/below/generate-token Bearer tms_key"; len(asked) != 2 || asked[0] != want || asked[1] != want {
		t.Errorf("it asked %q", asked)
	}
}

// The client tells what the server knows of a token.
func TestLookupAndHistory(t *testing.T) {
	t.Parallel()
	s := serve(t, tms.PolicyChange{}, "KEY-1")
	p := run(t, s.URL, `
server = tms.Client()
with server.acquire("lic", client_id="c") as lease:
    found = server.lookup("KEY-1", "lic")
    say(found["state"], found["client_id"])
print([lease["end"] for lease in server.history("KEY-1", "lic")["history"]])
`)
	p.hears("assigned c")
	p.hears("['released']")
	p.ends()
}
