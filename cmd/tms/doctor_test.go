package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// What the doctor thinks of versions, of clocks and of what does not last.
func TestTheDoctorsJudgement(t *testing.T) {
	for _, c := range []struct {
		remark
		level, says string
	}{
		{versions("v1", "v1"), isFine, "is TMS v1"},
		{versions("", "v1"), isFine, "it answers"},
		{versions("v1", "v2"), look, "is TMS v1; this command is v2"},
		{clocksOf(3 * time.Second), isFine, "that of the server"},
		{clocksOf(-time.Minute), look, "1m0s apart"},
		{lasts("key", time.Now().Add(-time.Hour), "do"), isWrong, "expired"},
		{lasts("key", time.Now().Add(24*time.Hour), "do"), look, "lasts until 20"},
		{lasts("key", time.Now().Add(30*24*time.Hour), "do"), isFine, "lasts until 20"},
	} {
		if c.Level != c.level || !strings.Contains(c.Says, c.says) || (c.Level != isFine) != (c.Do != "") {
			t.Errorf("want %s, %q; it says %+v", c.level, c.says, c.remark)
		}
	}
}

func TestTheDoctorOfAPool(t *testing.T) {
	policy := tms.DefaultPolicy()
	if found := examinePool(tms.Pool{Policy: policy}, tms.Stats{Available: 1, Waiting: 2}); len(found) > 0 {
		t.Errorf("of a pool that is well it says %+v", found)
	}
	policy.MaxTokens = 3
	ill := tms.Pool{Name: "p", Policy: policy, SettlingUntil: time.Now()}
	said := ""
	for _, f := range examinePool(ill, tms.Stats{Assigned: 2, Quarantined: 1, Waiting: 1}) {
		said += f.Says + "\n"
	}
	for _, want := range []string{"it settles until", "1 request waits for a token, and all 3 are taken",
		"1 token is put aside", "it is full, with 3 tokens"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q, but\n%s", want, said)
		}
	}
}

// What answers and is no TMS is told from one.
func TestTheDoctorOfOthers(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	out := runTMS(t, false, "doctor", "--server", other.URL)
	if !strings.Contains(out, "what answers at "+other.URL+" with 404 Not Found is no TMS") {
		t.Errorf("it says %s", out)
	}
}
