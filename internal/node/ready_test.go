package node

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/embedded"
)

// unfit is a store that says why it is not fit to serve.
type unfit struct {
	tms.Sweeper
	why error
}

func (u *unfit) Ready(context.Context) error { return u.why }

// The metric of readiness says what the last look has found.
func TestReadinessIsShown(t *testing.T) {
	store, err := embedded.Open(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	u := &unfit{Sweeper: store}
	registry := prometheus.NewRegistry()
	n := New(u, Options{Registry: registry})
	defer n.Close()
	for _, why := range []error{errors.New("no memory"), nil, errors.New("a replica"), nil} {
		u.why = why
		if _, err := n.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := 0.
		if why == nil {
			want = 1
		}
		if got := gauge(t, registry, "tms_ready"); got != want {
			t.Errorf("with %v it is %v", why, got)
		}
	}
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
