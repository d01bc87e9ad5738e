package api

import (
	"bytes"
	stdjson "encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tms "github.com/manankarani/token-manager"
)

func TestPolicyKeepsWhatIsLeftOut(t *testing.T) {
	var p Policy
	if err := Decode([]byte(`{"max_tokens":5,"token_ttl":"0s","selection":"fifo","paused":true}`), &p); err != nil {
		t.Fatal(err)
	}
	want := tms.DefaultPolicy()
	want.MaxTokens, want.TokenTTL, want.Selection, want.Paused = 5, 0, tms.SelectFIFO, true
	if diff := cmp.Diff(want, p.Change().Apply(tms.DefaultPolicy())); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyShowsEverything(t *testing.T) {
	want := tms.Policy{
		MaxTokens: 7, LeaseTTL: time.Minute, MaxLease: time.Hour, MaxTTL: 2 * time.Hour, TokenTTL: 90 * time.Second,
		Grace:    250 * time.Millisecond,
		Cooldown: time.Second, OnLeaseExpiry: tms.ExpiryQuarantines, Selection: tms.SelectLIFO, RequireLeaseID: true,
		Paused:             true,
		MaxLeasesPerClient: 3, Labels: []string{"plan", "seat"}, RequestTTL: time.Minute, History: 4,
	}
	var wire bytes.Buffer
	if err := Encode(&wire, NewPolicy(want)); err != nil {
		t.Fatal(err)
	}
	const text = `{"max_tokens":7,"lease_ttl":"1m","max_lease":"1h","max_ttl":"2h",` +
		`"token_ttl":"1m30s","grace":"250ms",` +
		`"cooldown":"1s",` +
		`"on_lease_expiry":"quarantine","selection":"lifo","require_lease_id":true,"paused":true,` +
		`"max_leases_per_client":3,"labels":["plan","seat"],"request_ttl":"1m","history":4}`
	if wire.String() != text {
		t.Errorf("wrote %s\nwant  %s", wire.String(), text)
	}
	var back Policy
	if err := stdjson.Unmarshal([]byte(text), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back.Change().Apply(tms.Policy{})); diff != "" {
		t.Error(diff)
	}
	if again, err := stdjson.Marshal(back); err != nil || string(again) != text {
		t.Errorf("encoding/json writes %s, error %v", again, err)
	}
}

// TestAPolicyHasOneListOfFields compares the root's PolicyChange with its Policy, with the
// document and with the README's table, field by field.
func TestAPolicyHasOneListOfFields(t *testing.T) {
	ours := reflect.TypeFor[tms.PolicyChange]()
	described := document(t).Components.Schemas["Policy"].Value.Properties
	if n := ours.NumField() - 1; n != reflect.TypeFor[tms.Policy]().NumField() || n != len(described) {
		t.Errorf("%d fields besides If, %d in a policy, %d in openapi.yaml", n,
			reflect.TypeFor[tms.Policy]().NumField(),
			len(described))
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for i := range ours.NumField() {
		field := ours.Field(i)
		if field.Name == "If" {
			continue
		}
		if _, ok := reflect.TypeFor[tms.Policy]().FieldByName(field.Name); !ok {
			t.Errorf("tms.Policy has no %s", field.Name)
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if described[name] == nil {
			t.Errorf("openapi.yaml has no %s", name)
		}
		if !strings.Contains(string(readme), "\n| `"+name+"` | ") {
			t.Errorf("the README's table has no %s", name)
		}
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 10 * time.Second: "10s", time.Minute: "1m", 10 * time.Minute: "10m",
		90 * time.Second: "1m30s",
		time.Hour:        "1h", 20 * time.Hour: "20h", time.Hour + time.Second: "1h0m1s", 720 * time.Hour: "720h",
		250 * time.Millisecond: "250ms",
	} {
		got := Duration(d).String()
		if back, err := time.ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("%v is written %q, want %q; read back %v, error %v", d, got, want, back, err)
		}
	}
}
