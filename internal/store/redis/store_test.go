package redis_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// rueidis may leave a goroutine that sleeps for up to a second before it looks at a cluster again.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// checked is a store that examines its Redis at the end of every rule.
type checked struct {
	*redis.Store
	client rueidis.Client
}

func (c checked) Check(ctx context.Context) error { return checkRedis(ctx, c.client) }

func TestContract(t *testing.T)      { storetest.Run(t, onOneServer(t)) }
func TestQueueContract(t *testing.T) { storetest.RunQueue(t, onOneServer(t)) }

func TestContractOnTwoServersOfOneRedis(t *testing.T)      { storetest.Run(t, asSmallest(t)) }
func TestQueueContractOnTwoServersOfOneRedis(t *testing.T) { storetest.RunQueue(t, asSmallest(t)) }

func onOneServer(t *testing.T) storetest.Opener {
	server := redistest.New(t)
	return func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		c := raw(t, server)
		ask(t, c, "FLUSHALL")
		return []tms.Sweeper{checked{open(t, server, redis.Options{Now: clock.Now}), c}}
	}
}

// open opens a store on the server. It ends with the test.
func open(t testing.TB, server *redistest.Server, o redis.Options) *redis.Store {
	t.Helper()
	if o.URL == "" {
		o.URL = server.URL()
	}
	s, err := redis.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// raw returns a client for what a store does not show.
func raw(t testing.TB, server *redistest.Server) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}, ForceSingleClient: true,
		DisableCache: true, DisableRetry: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ask runs a command that must succeed.
func ask(t testing.TB, c rueidis.Client, command ...string) *rueidis.RedisMessage {
	t.Helper()
	m, err := c.Do(t.Context(), c.B().Arbitrary(command...).Build()).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%v: %v", command, err)
	}
	return &m
}

// number runs a command that answers with one.
func number(t testing.TB, c rueidis.Client, command ...string) int64 {
	t.Helper()
	n, err := ask(t, c, command...).AsInt64()
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	return n
}

// The helpers of every package that tests a store, by their short names.
var (
	must       = storetest.Must
	refused    = storetest.Refused
	eventually = storetest.Eventually
	put        = storetest.Put
	fill       = storetest.Fill
	take       = storetest.Take
)

// All servers of a Redis have one secret, which outlives them.
func TestTheSecretIsOne(t *testing.T) {
	server := redistest.New(t)
	first, err := open(t, server, redis.Options{}).InstallationKey(t.Context())
	must(t, err)
	second, err := open(t, server, redis.Options{}).InstallationKey(t.Context())
	must(t, err)
	other, err := open(t, redistest.New(t), redis.Options{}).InstallationKey(t.Context())
	must(t, err)
	if first != second || first == other || first == ([32]byte{}) {
		t.Errorf("the secrets are %x and %x, and elsewhere %x", first, second, other)
	}
	ask(t, raw(t, server), "SET", "tms:secret", "abc")
	if _, err := open(t, server, redis.Options{}).InstallationKey(t.Context()); err == nil {
		t.Error("what is no secret is taken for one")
	}
}

// Servers of a Redis have the same keys, as the smallest rule lets them.
func TestKeysAreKept(t *testing.T) {
	storetest.RunKeyring(t, func(t *testing.T) [2]tms.Keyring {
		server := redistest.New(t)
		url := allow(t, raw(t, server), server)
		t.Cleanup(func() { refusesNothing(t, server) })
		return [2]tms.Keyring{open(t, server, redis.Options{URL: url}), open(t, server, redis.Options{URL: url})}
	})
}

// Callers that come at the same time are answered each for itself: with its own token, or its own refusal.
func TestCombinedCallersHaveTheirOwn(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, redis.Options{})
	put(t, s, "p", tms.PolicyChange{})
	const callers, times = 64, 20
	var asking sync.WaitGroup
	for n := range callers {
		name := fmt.Sprint("t", n)
		fill(t, s, "p", name)
		asking.Go(func() {
			for range times {
				taken, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{ClientID: name}})
				if err != nil || taken[0].Err != nil || taken[0].Tokens[0].Lease.ClientID != name {
					t.Errorf("%s was assigned %+v, error %v", name, taken, err)
					return
				}
				token := taken[0].Tokens[0]
				for id, want := range map[string]tms.Code{"another": tms.ErrLeaseLost, token.Lease.ID: ""} {
					key := []tms.LeaseKey{{Token: token.Value, LeaseID: id}}
					kept, err := s.KeepAlive(t.Context(), "p", key)
					wrong := err != nil || tms.CodeOf(kept[0].Err) != want
					if wrong || want == "" && kept[0].Token.Value != token.Value {
						t.Errorf("%s kept %q alive with %+v, error %v", name, token.Value, kept, err)
					}
				}
				key := []tms.LeaseKey{{Token: token.Value, LeaseID: token.Lease.ID}}
				if back, err := s.Unblock(t.Context(), "p", key); err != nil || back[0].Err != nil {
					t.Errorf("%s returned %+v, error %v", name, back, err)
				}
			}
		})
	}
	asking.Wait()
	if n := calls(t, raw(t, server))["fcall"]; n >= callers*times*4*2/3 {
		t.Errorf("%d calls took %d steps", callers*times*4, n)
	}
}
