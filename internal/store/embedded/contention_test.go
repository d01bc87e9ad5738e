package embedded

import (
	"sync"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// A call that comes while a long batch is carried out waits for a part of it only.
func TestALongBatchLetsOthersIn(t *testing.T) {
	var steps []string
	var who string // whose step it is; guarded by the lock of the store, as all that the clock does
	var once sync.Once
	var s *Store
	started := make(chan struct{})
	looked := make(chan error, 1)
	s = open(t, Options{Now: func() time.Time {
		if who == "" {
			return time.Unix(0, 0)
		}
		steps = append(steps, who)
		once.Do(func() {
			go func() {
				close(started)
				looked <- s.do(t.Context(), tms.DefaultPool, func(*step) error {
					steps[len(steps)-1] = "another"
					return nil
				})
			}()
			<-started
		})
		time.Sleep(2 * time.Millisecond) // after one the lock goes to who waits for it
		return time.Unix(0, 0)
	}})
	s.mu.Lock()
	who = "batch"
	s.mu.Unlock()
	keys := make([]tms.LeaseKey, 1_000)
	for i := range keys {
		keys[i].Token = "none"
	}
	results, err := s.KeepAlive(t.Context(), tms.DefaultPool, keys)
	if err != nil || len(results) != len(keys) {
		t.Fatalf("%d results, error %v", len(results), err)
	}
	if err := <-looked; err != nil {
		t.Fatal(err)
	}
	if len(steps) != 1+len(keys)/turn || steps[len(steps)-1] == "another" {
		t.Errorf("the steps were %v", steps)
	}
}
