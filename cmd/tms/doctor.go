package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/server"
)

// remark is what the doctor has to say of one thing.
type remark struct {
	Level string `json:"level"`          // fine, look or wrong
	About string `json:"about"`          // what was looked at
	Says  string `json:"says"`           // what was found
	Do    string `json:"do,omitempty"`   // what to do
	Pool  string `json:"pool,omitempty"` // which it is about
}

const (
	isFine  = "fine"
	look    = "look"  // it may be meant so
	isWrong = "wrong" // it is not
)

// The bounds beyond which the doctor speaks.
const (
	clocksApart = 5 * time.Second
	endsSoon    = 14 * 24 * time.Hour
	mostPools   = 1_000 // that are looked at
)

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at a server, its store, its pools and this machine, and say what to do",
		Long: "Look at a server, its store, its pools, the key and this machine, and say what is wrong, what may be\n" +
			"meant otherwise, and what to do. It changes nothing, and ends with 1 if something is wrong.",
		Args: cobra.NoArgs,
	}
	return asksServer(cmd, []string{formTable, formJSON}, func(r *remote, _ []string) error {
		found := r.examine(r.Context())
		if err := r.writeFindings(found); err != nil {
			return err
		}
		if wrong := countLevel(found, isWrong); wrong > 0 {
			return &ended{exitFailure, fmt.Errorf("%s wrong with %s", areWrong(wrong), r.server)}
		}
		return nil
	})
}

func areWrong(n int) string {
	if n == 1 {
		return "1 thing is"
	}
	return fmt.Sprintf("%d things are", n)
}

func countLevel(found []remark, level string) (n int) {
	for _, f := range found {
		if f.Level == level {
			n++
		}
	}
	return n
}

func (r *remote) writeFindings(found []remark) error {
	if r.output == formJSON {
		return writeJSON(r.OutOrStdout(), struct {
			Findings []remark `json:"findings"`
		}{found})
	}
	t := table{header: []string{"", "ABOUT", "POOL", "WHAT"}}
	for _, f := range found {
		t.rows = append(t.rows, []string{f.Level, f.About, f.Pool, f.Says})
		if f.Do != "" {
			t.rows = append(t.rows, []string{"", "", "", "→ " + f.Do})
		}
	}
	return t.write(r.OutOrStdout())
}

// examine looks at one thing after the other. What needs a server that answers is left out where none does.
func (r *remote) examine(ctx context.Context) []remark {
	found, answers := r.examineServer(ctx)
	if answers {
		found = append(found, r.examineStore(ctx), r.examineKey(ctx))
		found = append(found, r.examinePools(ctx)...)
	}
	return append(found, examineMachine())
}

// examineServer asks the server who it is.
func (r *remote) examineServer(ctx context.Context) (found []remark, answers bool) {
	away := remark{isWrong, "server", "", "see whether tms serve runs there, and --server or $TMS_SERVER names it", ""}
	response, health, err := r.health(ctx)
	if err != nil {
		away.Says = fmt.Sprintf("%s does not answer: %v", r.server, err)
		return []remark{away}, false
	}
	if response.StatusCode != http.StatusOK || health.Status != "ok" {
		away.Says = fmt.Sprintf("what answers at %s with %s is no TMS", r.server, response.Status)
		return []remark{away}, false
	}
	found = append(found, versions(health.Version, versionText()))
	if at, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		found = append(found, clocksOf(time.Since(at)))
	}
	if state := response.TLS; state != nil && len(state.PeerCertificates) > 0 {
		found = append(found, lasts("certificate", state.PeerCertificates[0].NotAfter,
			"renew it; the server reads the file again by itself"))
	}
	return found, true
}

func (r *remote) health(ctx context.Context) (*http.Response, api.Health, error) {
	var health api.Health
	trusted, err := r.secrecy.orVariables().config()
	if err != nil {
		return nil, health, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.server+api.PathLive, nil)
	if err != nil {
		return nil, health, err
	}
	asking := httpClient(1, trusted)
	asking.Timeout = client.DefaultRequestTimeout
	defer asking.CloseIdleConnections()
	response, err := asking.Do(request)
	if err != nil {
		return nil, health, errors.Unwrap(err) // which names the address once more
	}
	defer response.Body.Close()
	json.NewDecoder(io.LimitReader(response.Body, 4096)).Decode(&health) // what is no TMS says nothing that is read
	return response, health, nil
}

func versions(served, own string) remark {
	if served == own || served == "" {
		return remark{isFine, "server", "it answers, and is TMS " + served, "", ""}
	}
	return remark{look, "server", fmt.Sprintf("it answers, and is TMS %s; this command is %s", served, own),
		"use one version where you can", ""}
}

func clocksOf(apart time.Duration) remark {
	if max(apart, -apart) <= clocksApart {
		return remark{isFine, "clock", "it is that of the server", "", ""}
	}
	return remark{look, "clock", fmt.Sprintf("it is %v apart from the server's", max(apart, -apart).Round(time.Second)),
		"no lease depends on it, but instants are shown by it: let both machines set their clocks by NTP", ""}
}

// lasts says how long something lasts yet.
func lasts(about string, until time.Time, do string) remark {
	left := time.Until(until)
	says := fmt.Sprintf("it lasts until %s", until.UTC().Format("2006-01-02"))
	switch {
	case left <= 0:
		return remark{isWrong, about, "it has expired", do, ""}
	case left < endsSoon:
		return remark{look, about, says, do, ""}
	}
	return remark{isFine, about, says, "", ""}
}

func (r *remote) examineStore(ctx context.Context) remark {
	if err := r.Ready(ctx); err != nil {
		return remark{isWrong, "store", fmt.Sprintf("it is not fit to serve: %v", detailOf(err)),
			"see the log of the server, and docs/operate.md for what Redis needs; keep-alives go on meanwhile", ""}
	}
	return remark{isFine, "store", "it is fit to serve", "", ""}
}

func (r *remote) examineKey(ctx context.Context) remark {
	who, err := r.Whoami(ctx)
	switch {
	case err != nil:
		return remark{isWrong, "key", fmt.Sprintf("%v", detailOf(err)), "see $TMS_KEY or --key-file", ""}
	case who.Key == "":
		return remark{look, "key", "the server asks nobody for one",
			"where others reach it, give it auth: keys (docs/security.md)", ""}
	case !who.Expires.IsZero():
		return lasts("key", who.Expires, "have another made under the same name: tms key new "+who.Key)
	}
	return remark{isFine, "key", "it is that of " + who.Key, "", ""}
}

// examinePools looks at each pool that the key may watch.
func (r *remote) examinePools(ctx context.Context) (found []remark) {
	looked, after := 0, ""
	for looked < mostPools {
		page, err := r.Pools(ctx, after, api.MaxPage)
		if err != nil {
			says := fmt.Sprintf("they cannot be listed: %v", detailOf(err))
			return append(found, remark{isWrong, "pools", says, "", ""})
		}
		for _, pool := range page.Pools {
			found = append(found, examinePool(pool.Pool, pool.Stats)...)
		}
		looked += len(page.Pools)
		if after = page.Next; after == "" {
			break
		}
	}
	if !slices.ContainsFunc(found, func(f remark) bool { return f.Level != isFine }) {
		says := fmt.Sprintf("nothing is to be said of %s", countOf(looked, "pool"))
		found = append(found, remark{isFine, "pools", says, "", ""})
	}
	return found
}

func examinePool(p tms.Pool, s tms.Stats) (found []remark) {
	say := func(says, do string) { found = append(found, remark{look, "pool", says, do, p.Name}) }
	for _, warning := range p.Policy.Warnings() {
		say(warning, "tms pool set "+p.Name)
	}
	if p.Policy.Paused {
		say("it is paused, and gives nothing", "tms pool set "+p.Name+" --paused=false")
	}
	if !p.SettlingUntil.IsZero() {
		say("it settles until "+p.SettlingUntil.UTC().Format(time.RFC3339), "wait; docs/reliability.md says why")
	}
	if s.Waiting > 0 && s.Available == 0 {
		say(fmt.Sprintf("%s for a token, and all %d are taken", waitingOf(s.Waiting), s.Total()),
			"tms tokens -p "+p.Name+" -s assigned says who has them")
	}
	if s.Quarantined > 0 {
		say(putAside(s.Quarantined), "tms tokens -p "+p.Name+" -s quarantined")
	}
	if s.Total() >= p.Policy.MaxTokens {
		say("it is full, with "+countOf(s.Total(), "token"), "tms pool set "+p.Name+" --max-tokens N")
	}
	return found
}

func putAside(n int) string {
	if n == 1 {
		return "1 token is put aside"
	}
	return fmt.Sprintf("%d tokens are put aside", n)
}

func waitingOf(n int) string {
	if n == 1 {
		return "1 request waits"
	}
	return fmt.Sprintf("%d requests wait", n)
}

// examineMachine looks at what a server here could have.
func examineMachine() remark {
	const beside = ownFiles + server.ReservedConnections
	most, need := openFiles(), uint64(server.Config{}.WithDefaults().MaxConnections+beside)
	if most < need {
		return remark{look, "machine", fmt.Sprintf("a process may have %d files open", most),
			fmt.Sprintf("a server here would take fewer connections than max_connections: ulimit -n %d", need), ""}
	}
	return remark{isFine, "machine", "a server here may have as many connections as max_connections", "", ""}
}
