package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
)

func TestAWaitIsReportedEveryHalfMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var said []string
		say := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, fmt.Sprintf(format, args...))
		}
		w := newWaitReport("p", say, func() string { return "; held by ada since 10:01:12" })
		time.Sleep(900 * time.Millisecond)
		w.update(tms.Refusal{Code: tms.ErrNoTokenAvailable, Place: 2, Waiting: 5, RetryAfter: time.Minute})
		time.Sleep(29 * time.Second)
		w.update(tms.Refusal{Code: tms.ErrNoTokenAvailable, Place: 1, Waiting: 1})
		time.Sleep(35 * time.Second)
		w.end(true)
		want := []string{
			`waiting for a token of the pool "p" for 1s, place 2 of 5; held by ada since 10:01:12; the next is due ` +
				`in 1m0s`,
			`waiting for a token of the pool "p" for 31s, place 1 of 1; held by ada since 10:01:12`,
			`waiting for a token of the pool "p" for 1m1s; nothing heard from the server for 31s`,
			`got what it waited for in the pool "p" after 1m5s; the job starts`,
		}
		if !slices.Equal(said, want) {
			t.Errorf("it said %q", said)
		}
	})
}

func TestAShortWaitIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lasts := range []time.Duration{0, firstReport - 1} {
			w := newWaitReport("p", func(string, ...any) { t.Error("it says something") }, func() string { return "" })
			time.Sleep(lasts)
			w.end(true)
		}
	})
}

// Off a terminal tms run says that it waits and that it starts; with -q it says nothing.
func TestOffATerminalRunSaysThatItWaits(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	key := p.holdAll(1)[0]
	loud, quiet := waiting(t, p, "run", "--wait", "2m", "--", "true"),
		waiting(t, p, "run", "-q", "--wait", "2m", "--", "true")
	said := &output{}
	p.untilQueued(t, 2)
	loud.Process.Kill()
	loud.Wait()
	loud = waitingTo(t, said, p, "run", "--wait", "2m", "--", "true")
	eventually(t, "run says that it waits", func() bool {
		return strings.Contains(said.String(),
			`waiting for a token of the pool "default" for`)
	})
	p.must(200, http.MethodPost, "/unblock-token", key)
	if err := loud.Wait(); err != nil || !strings.Contains(said.String(), "; held by first since ") ||
		!strings.Contains(said.String(), "the job starts\n") || strings.Count(said.String(), "\n") != 2 {
		t.Errorf("%v, and it said %q", err, said)
	}
	if err := quiet.Wait(); err != nil || fmt.Sprint(quiet.Stderr) != "" {
		t.Errorf("%v, and with -q it said %q", err, quiet.Stderr)
	}
}

func TestTheHolderTellsJobsApart(t *testing.T) {
	ci := map[string]string{}
	for _, c := range []struct{ set, want string }{
		{"", "ada@build-7:4711"},
		{"GITHUB_ACTIONS=true GITHUB_SERVER_URL=https://github.com GITHUB_REPOSITORY=a/b GITHUB_RUN_ID=7 " +
			"GITHUB_RUN_ATTEMPT=2 GITHUB_JOB=test",
			"https://github.com/a/b/actions/runs/7/attempts/2#test build-7:4711"},
		{"GITLAB_CI=true CI_JOB_URL=https://gitlab.com/a/b/-/jobs/9", "https://gitlab.com/a/b/-/jobs/9 build-7:4711"},
		{"JENKINS_URL=https://ci/ BUILD_URL=https://ci/job/a/3/", "https://ci/job/a/3/ build-7:4711"},
		{"BUILDKITE=true BUILDKITE_BUILD_URL=https://buildkite.com/a/b/builds/5 BUILDKITE_JOB_ID=x",
			"https://buildkite.com/a/b/builds/5#x build-7:4711"},
		{"GITLAB_CI=true CI_JOB_URL=" + strings.Repeat("x", tms.MaxClientIDBytes-3),
			strings.Repeat("x", tms.MaxClientIDBytes-3)},
		{"GITLAB_CI=true CI_JOB_URL=" + strings.Repeat("x", tms.MaxClientIDBytes+1), "ada@build-7:4711"},
		{"GITLAB_CI=true", "ada@build-7:4711"},
	} {
		clear(ci)
		for _, one := range strings.Fields(c.set) {
			name, value, _ := strings.Cut(one, "=")
			ci[name] = value
		}
		got := holderID(func(name string) string { return ci[name] }, "ada", "build-7", 4711)
		if got != c.want || (tms.AssignRequest{ClientID: got}).Validate() != nil {
			t.Errorf("%s: %q, want %q", c.set, got, c.want)
		}
	}
}
