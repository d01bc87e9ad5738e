package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServeAnswersTheFiveOperations(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	token := p.must(201, http.MethodPost, "/generate-token", nil).Token
	lease := p.must(200, http.MethodPost, "/assign-token", object{"client_id": "c"})
	if lease.Token != token || lease.LeaseID == "" {
		t.Fatalf("assigned %+v, want the token %s with a lease", lease, token)
	}
	key := object{"token": token, "lease_id": lease.LeaseID}
	p.must(200, http.MethodPost, "/keep-alive", key)
	p.must(200, http.MethodPost, "/unblock-token", key)
	if !p.must(200, http.MethodDelete, "/delete-token", object{"token": token}).Deleted {
		t.Error("the token was not deleted")
	}
}

func TestServeGivesBackWhatExpired(t *testing.T) {
	p := startServe(t, "--store", "memory:", "--sweep-interval", "50ms", "--log-level", "debug")
	p.must(201, http.MethodPost, "/generate-token", nil)
	p.must(200, http.MethodPost, "/assign-token", object{"ttl": "100ms"})
	eventually(t, "a sweep has released the token", func() bool {
		return strings.Contains(p.stderr.String(),
			"released=1")
	})
	p.must(200, http.MethodPost, "/assign-token", nil)
}

func TestServeEndsCleanlyAndKeepsItsTokens(t *testing.T) {
	dir := t.TempDir()
	p := startServe(t, "--store", "embedded:"+dir, "--log-format", "json")
	token := p.must(201, http.MethodPost, "/generate-token", nil).Token
	if err := p.stop(); err != nil {
		t.Fatalf("after SIGTERM: %v\n%s", err, p.stderr)
	}
	p = startServe(t, "--store", "embedded:"+dir, "--sync", "10ms")
	p.must(200, http.MethodPost, "/lookup-token", object{"token": token})
}

func TestServeLetsRequestsEnd(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	body, done := slowBody(t, p)
	time.Sleep(50 * time.Millisecond) // the request's header has arrived
	p.cmd.Process.Signal(os.Interrupt)
	eventually(t, "the server stops", func() bool { return strings.Contains(p.stderr.String(), "stopping") })
	body.Write([]byte(`{}`))
	body.Close()
	if status := <-done; status != 201 {
		t.Errorf("the request that was under way was answered with %d, want 201", status)
	}
	if err := p.wait(); err != nil {
		t.Errorf("the server ended with %v\n%s", err, p.stderr)
	}
}

// A client that does not send the rest of its request does not make an orderly end look as if the store were away.
func TestServeCutsOffASlowClient(t *testing.T) {
	p := startServe(t, "--store", "memory:", "--shutdown-timeout", "100ms")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /generate-token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+
		"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "100 Continue") {
		t.Fatalf("the server does not read the body: %q, error %v", line, err)
	}
	p.cmd.Process.Signal(os.Interrupt)
	var exit *exec.ExitError
	if err := p.wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailure {
		t.Errorf("the server ended with %v, want the exit code %d\n%s", err, exitFailure, p.stderr)
	}
}

func TestASecondSignalEndsServeAtOnce(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	slowBody(t, p)
	time.Sleep(50 * time.Millisecond)
	p.cmd.Process.Signal(os.Interrupt)
	eventually(t, "the server stops", func() bool { return strings.Contains(p.stderr.String(), "stopping") })
	p.cmd.Process.Signal(os.Interrupt)
	began := time.Now()
	if err := p.wait(); err == nil {
		t.Error("the server ended as if the request had")
	}
	if time.Since(began) > 5*time.Second { // half of the shutdown_timeout
		t.Error("the server waited for the request")
	}
}

func TestADirectoryServesOneServer(t *testing.T) {
	dir := t.TempDir()
	startServe(t, "--store", "embedded:"+dir)
	out := failServe(t, "--store", "embedded:"+dir)
	if !strings.Contains(out, dir) || !strings.Contains(out, "another process") ||
		!strings.Contains(out, "choose another directory with --store") {
		t.Errorf("the second server said %q, want it to name the directory, the other process and what to do", out)
	}
}

func TestATakenPortIsRefusedBeforeTheStoreIsOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, "--store", "memory:")
	out := failServe(t, "--store", "embedded:"+dir, "--listen", strings.TrimPrefix(p.url, "http://"))
	if !strings.Contains(out, "address already in use") || !strings.Contains(out,
		"choose another address with --listen") {
		t.Errorf("it said %q", out)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the data directory was made")
	}
}

func TestPoolsOfTheFileAreSetAtEveryStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tms.yaml")
	start := func(text string) *process {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return startServe(t, "--store", "embedded:"+filepath.Join(dir, "data"), "--config", file)
	}
	p := start("pools: {phones: {max_tokens: 2, paused: true}}")
	p.must(201, http.MethodPost, "/generate-token", object{"pool": "phones", "count": 2})
	if r := p.must(409, http.MethodPost, "/generate-token", object{"pool": "phones"}); r.Code != "pool_full" {
		t.Errorf("code %q, want pool_full", r.Code)
	}
	p.must(503, http.MethodPost, "/assign-token", object{"pool": "phones"})
	p.kill()

	p = start("pools: {phones: {paused: false}}")
	p.must(200, http.MethodPost, "/assign-token", object{"pool": "phones"})
	p.must(409, http.MethodPost, "/generate-token", object{"pool": "phones"}) // what is left out keeps its value
}

func TestServeShowsItsMetrics(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	p.must(201, http.MethodPost, "/generate-token", nil)
	response, err := http.Get(p.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tms_build_info", "tms_http_requests_total", "tms_operations_total",
		"tms_sweeps_total"} {
		if !strings.Contains(string(text), "\n"+name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

func TestHealthcheckAsksTheServer(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	runTMS(t, true, "healthcheck", "--listen", strings.TrimPrefix(p.url, "http://"))
	port := p.url[strings.LastIndex(p.url, ":"):]
	runTMS(t, true, "healthcheck", "--listen", "0.0.0.0"+port)
	p.kill()
	runTMS(t, false, "healthcheck", "--listen", "127.0.0.1"+port)
}

func TestServeSaysHowFarItCanBeReached(t *testing.T) {
	p := startServe(t, "--store", "memory")
	eventually(t, "the greeting says who can reach it", func() bool {
		return strings.Contains(p.stdout.String(),
			"whoever reaches this address can")
	})
	p = startServe(t, "--store", "memory", "--insecure", "--listen", ":0")
	port := p.url[strings.LastIndex(p.url, ":")+1:]
	if p.url != "http://[::]:"+port { // that is what it listens on; any address of IPv4 with it
		t.Errorf("it serves on %s", p.url)
	}
	eventually(t, "the greeting says what to try", func() bool {
		return strings.Contains(p.stdout.String(), "try: curl -X POST http://127.0.0.1:"+port+"/")
	})
	eventually(t, "the greeting says who can reach it", func() bool {
		return strings.Contains(p.stdout.String(), "whoever reaches any address of this machine, on port "+port+", can")
	})
}

func TestAnAddressThatIsShownCanBeReached(t *testing.T) {
	for listen, want := range map[string]string{
		"0.0.0.0:80":   "127.0.0.1:80",
		"[::]:80":      "127.0.0.1:80",
		":80":          "127.0.0.1:80",
		"127.0.0.2:80": "127.0.0.2:80",
		"[::1]:80":     "[::1]:80",
	} {
		address, err := net.ResolveTCPAddr("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := reachable(address); got != want {
			t.Errorf("%s is shown as %s, want %s", listen, got, want)
		}
	}
}

// A disk that takes no more ends the server with the reason, and what was acknowledged is there at the next start.
func TestADiskThatIsFullEndsTheServer(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t,
		exec.Command("sh", "-c", `ulimit -f 200; exec tms serve --listen 127.0.0.1:0 --store "embedded:$0"`, dir))
	var acknowledged []string
	for {
		r, err := p.call(http.MethodPost, "/generate-token", object{"count": 100})
		if err != nil || r.Status != http.StatusCreated {
			break
		}
		acknowledged = append(acknowledged, r.Tokens...)
	}
	if err := p.wait(); err == nil || !strings.Contains(p.stderr.String(), "file too large") {
		t.Errorf("the server ended with %v and said: %s", err, p.stderr)
	}
	again := startServe(t, "--store", "embedded:"+dir)
	for _, token := range acknowledged {
		again.must(200, http.MethodPost, "/lookup-token", object{"token": token})
	}
	t.Logf("%d tokens were acknowledged before the disk was full", len(acknowledged))
}
