package redis

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	tms "github.com/manankarani/token-manager"
)

// A policy is stored as servers of every version read it.
func TestAPolicyIsStoredAsEver(t *testing.T) {
	want := tms.Policy{
		MaxTokens: 7, LeaseTTL: time.Minute, MaxLease: time.Hour, MaxTTL: 2 * time.Hour, TokenTTL: 90 * time.Second,
		Grace:    250 * time.Millisecond,
		Cooldown: time.Second, OnLeaseExpiry: tms.ExpiryQuarantines, Selection: tms.SelectLIFO, RequireLeaseID: true,
		Paused:             true,
		MaxLeasesPerClient: 3, Labels: []string{"plan", "seat"}, RequestTTL: 2 * time.Minute, History: 4,
	}
	const text = `{"max_tokens":7,"lease_ttl_ms":60000,"max_lease_ms":3600000,"max_ttl_ms":7200000,` +
		`"token_ttl_ms":90000,"grace_ms":250,` +
		`"cooldown_ms":1000,"on_lease_expiry":"quarantine","selection":"lifo","require_lease_id":true,"paused":true,` +
		`"max_leases_per_client":3,"labels":"plan\nseat","request_ttl_ms":120000,"history":4}`
	change := want.Change()
	change.Labels, change.If = &[]string{"seat", "plan"}, tms.IfMissing
	if got := encodeChange(change); got != text {
		t.Errorf("stored as %s\nwant      %s", got, text)
	}
	got, err := decodePolicy(text)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v\n%s", err, diff)
	}
	for value := range reflect.ValueOf(want).Fields() {
		if reflect.ValueOf(want).FieldByName(value.Name).IsZero() {
			t.Errorf("the test leaves %s out", value.Name)
		}
	}
	got, err = decodePolicy(`{"labels":""}`)
	if diff := cmp.Diff(tms.DefaultPolicy(), got); diff != "" || err != nil {
		t.Errorf("of an empty policy: error %v\n%s", err, diff)
	}
}
