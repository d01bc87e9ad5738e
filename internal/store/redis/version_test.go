package redis_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// What was released under a version stays as it was, and the version goes up by one with the first change after it.
func TestTheVersionIsThatOfTheCode(t *testing.T) {
	lines, err := os.ReadFile("released.txt")
	must(t, err)
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(redis.Library)))
	last, lastHash, releases := 0, "", map[string]bool{}
	for line := range strings.Lines(string(lines)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var release string
		if _, err := fmt.Sscan(line, &release, &last, &lastHash); err != nil {
			t.Fatalf("released.txt: %q: %v", line, err)
		}
		releases[release] = true
	}
	switch next := last + 1; {
	case redis.LibraryVersion == last && hash != lastHash:
		t.Errorf("version %d of the library was released with other code: set libraryVersion to %d", last, next)
	case redis.LibraryVersion != last && redis.LibraryVersion != next:
		t.Errorf("libraryVersion is %d; the last one that was released is %d", redis.LibraryVersion, last)
	}
	changes, err := os.ReadFile("../../../CHANGELOG.md")
	must(t, err)
	for _, release := range regexp.MustCompile(`(?m)^## \[(\d[^]]*)\]`).FindAllStringSubmatch(string(changes), -1) {
		if !releases[release[1]] {
			t.Errorf("released.txt lacks a line for the release %s; if it is the present code: %s %d %s",
				release[1], release[1], redis.LibraryVersion, hash)
		}
	}
}

// openAs opens a store that loads another version of the library.
func openAs(t *testing.T, server *redistest.Server, version int64) *redis.Store {
	s := open(t, server, redis.Options{})
	s.AsVersion(version)
	return s
}

// loaded returns the version of the library that Redis has.
func loaded(t *testing.T, c rueidis.Client) int64 { return number(t, c, "FCALL", "tms1_version", "0") }

// loads returns how often a library was loaded.
func loads(t *testing.T, c rueidis.Client) string {
	text, _ := ask(t, c, "INFO", "commandstats").ToString()
	return regexp.MustCompile(`cmdstat_function\|load:calls=\d+`).FindString(text)
}

// Two versions serve one Redis side by side, whichever was there first: the greater library is loaded once, and stays.
func TestServersOfTwoVersionsShareOneRedis(t *testing.T) {
	for _, order := range [][]int64{{7, 8}, {8, 7}} {
		server := redistest.New(t)
		c := raw(t, server)
		first, second := openAs(t, server, order[0]), openAs(t, server, order[1])
		fill(t, first, tms.DefaultPool, "a", "b", "c", "d")
		take(t, second, tms.DefaultPool)
		count := loads(t, c)
		for range 3 {
			for _, s := range []*redis.Store{first, second} {
				must(t, s.Ready(t.Context()))
				release(t, s, tms.DefaultPool, take(t, s, tms.DefaultPool).Value)
			}
		}
		if got := loaded(t, c); got != 8 {
			t.Errorf("%v: version %d is loaded", order, got)
		}
		if again := loads(t, c); again != count {
			t.Errorf("%v: libraries were loaded again: %s after %s", order, again, count)
		}
	}
}

// When Redis loses its library, an older server may load its own for the moment; the newer one replaces it.
func TestTheGreaterVersionComesBack(t *testing.T) {
	server := redistest.New(t)
	c := raw(t, server)
	older, newer := openAs(t, server, 7), openAs(t, server, 8)
	fill(t, older, tms.DefaultPool, "a", "b", "c")
	take(t, newer, tms.DefaultPool)
	ask(t, c, "FUNCTION", "FLUSH")
	take(t, older, tms.DefaultPool)
	must(t, newer.Ready(t.Context()))
	must(t, older.Ready(t.Context()))
	take(t, older, tms.DefaultPool)
	if got := loaded(t, c); got != 8 {
		t.Errorf("version %d is loaded", got)
	}
}

// However many servers of whatever versions begin at once, the greatest library is there when each has looked again.
func TestManyVersionsBeginAtOnce(t *testing.T) {
	server := redistest.New(t)
	var stores []*redis.Store
	for version := range int64(9) {
		stores = append(stores, openAs(t, server, version+1))
	}
	var servers sync.WaitGroup
	for _, s := range stores {
		servers.Go(func() {
			if err := s.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	servers.Wait()
	for _, s := range stores {
		must(t, s.Ready(t.Context()))
	}
	if got := loaded(t, raw(t, server)); got != 9 {
		t.Errorf("version %d is loaded", got)
	}
}

// A library from before versions is replaced when a server connects, and so is one that comes back.
func TestALibraryWithoutAVersionIsReplaced(t *testing.T) {
	server := redistest.New(t)
	c := raw(t, server)
	old := "#!lua name=tms1\nredis.register_function('tms1_token', function() return 'old' end)"
	ask(t, c, "FUNCTION", "LOAD", old)
	s := open(t, server, redis.Options{})
	fill(t, s, tms.DefaultPool, "a")
	take(t, s, tms.DefaultPool)
	ask(t, c, "FUNCTION", "LOAD", "REPLACE", old)
	must(t, s.Ready(t.Context()))
	if got := loaded(t, c); got != redis.LibraryVersion {
		t.Errorf("version %d is loaded", got)
	}
}

// Readiness is asked for often, and moves far less than the library.
func TestReadinessMovesLittle(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	must(t, s.Ready(t.Context()))
	before := field(t, c, "total_net_output_bytes") + field(t, c, "total_net_input_bytes")
	for range 10 {
		must(t, s.Ready(t.Context()))
	}
	moved := field(t, c, "total_net_output_bytes") + field(t, c, "total_net_input_bytes") - before
	if moved > 10*8<<10 {
		t.Errorf("ten looks moved %v bytes", moved)
	}
}

// A server of version 1 says nothing of its clock, and is answered as it was: the instant of the step alone, and all
// instants near the wall clock's.
func TestOlderServersAreAnsweredInTheOlderForm(t *testing.T) {
	server := redistest.New(t)
	c := raw(t, server)
	s := open(t, server, redis.Options{})
	put(t, s, "p", tms.PolicyChange{MaxLeasesPerClient: new(9)})
	fill(t, s, "p", "a", "b", "c")
	older := func(function string, args ...string) []rueidis.RedisMessage {
		t.Helper()
		keys := redis.PoolKeys("p")
		command := append([]string{"FCALL", "tms1_" + function, fmt.Sprint(len(keys))}, keys...)
		values, err := ask(t, c, append(append(command, ""), args...)...).ToArray()
		if err != nil {
			t.Fatalf("%s: %v", function, err)
		}
		if now, err := values[0].AsInt64(); err != nil || function != "purge" &&
			time.Since(time.UnixMilli(now)).Abs() > time.Minute {
			t.Errorf("%s answers %v first, error %v", function, values[0], err)
		}
		return values
	}
	older("generate", "", "", "seed", "", "d", "e")
	results, err := older("assign", "client", "", "1", "lease-1")[3].ToArray()
	must(t, err)
	token, _ := results[0].ToString()
	kept, err := older("keep_alive", token, "lease-1", "")[2].ToArray()
	must(t, err)
	state, _ := kept[0].AsInt64()
	till, _ := kept[1].AsInt64()
	lease, _ := kept[2].ToString()
	var seen, ttl int64
	_, err = fmt.Sscanf(lease, "lease-1 %d %d %d %d client", new(int64), new(int64), &seen, &ttl)
	if must(t, err); state != 2 || len(kept) != 4 || seen != till-ttl {
		t.Errorf("a keep-alive answers %d, %d, %q", state, till, lease)
	}
	for function, args := range map[string][]string{
		"keep_alive": {token, "lease-1", ""}, "token": {token}, "tokens": {"10", "", "", "", "1", "2"}, "pool": {},
		"expire": {"10"}, "leave": {"", "ticket"}, "unblock_request": {"r"}, "restore": {"x", "", ""},
		"unblock_client": {"nobody", "", "", "10"}, "delete": {"x", "", ""},
		"claim":   {"inbox", "c2", "", "1", "", "", "", "print", "", "lease-2"},
		"purge":   {""},
		"unblock": {token, "lease-1", ""},
	} {
		older(function, args...)
	}
	must(t, checkRedis(t.Context(), c))
}

// What version 1 has stored goes on under this one, in the process that has it, after a restart, and in another: leases
// and tokens have the time left that they had.
func TestAPoolOfVersion1GoesOn(t *testing.T) {
	for name, again := range map[string]func(*redistest.Server, rueidis.Client){
		"the process that has it": func(_ *redistest.Server, c rueidis.Client) { ask(t, c, "FUNCTION", "FLUSH") },
		"after a restart":         func(server *redistest.Server, _ rueidis.Client) { server.Kill(); server.Start() },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
			c := raw(t, server)
			s := open(t, server, redis.Options{})
			put(t, s, "p", tms.PolicyChange{LeaseTTL: new(time.Minute)})
			fill(t, s, "p", "a", "b")
			held := take(t, s, "p")
			must(t, s.Close())
			ask(t, c, "HDEL", "tms:{p}:pool", "instant", "offset", "life", "taken", "settled", "before", "longest",
				"lasting")
			again(server, c)
			s = open(t, server, redis.Options{})
			token, err := s.Token(t.Context(), "p", tms.LeaseKey{Token: held.Value})
			must(t, err)
			if left := time.Until(token.Lease.ExpiresAt); left < 40*time.Second || left > time.Minute+2*time.Second {
				t.Errorf("the lease has %v left, want a minute", left)
			}
			results, err := s.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: held.Value, LeaseID: held.Lease.ID}})
			must(t, err)
			must(t, results[0].Err)
			must(t, checkRedis(t.Context(), raw(t, server)))
		})
	}
}
