package redis_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
	"github.com/manankarani/token-manager/internal/store/redis"
)

// Go and Lua agree on the KEYS, their order and number, and on those that only some pools have.
func TestKeysAreThoseOfTheLibrary(t *testing.T) {
	var documented []string
	described := regexp.MustCompile(`(?m)^-- +(\d+) (\w+) +(hash|sorted set|prefix)`)
	for _, line := range described.FindAllStringSubmatch(redis.Library, -1) {
		if line[1] != strconv.Itoa(len(documented)+1) {
			t.Fatalf("key %s of the library is described at place %d", line[1], len(documented)+1)
		}
		documented = append(documented, line[2])
	}
	var named []string
	for _, name := range redis.KeyNames {
		named = append(named, strings.TrimSuffix(name, ":"))
	}
	named[len(named)-1] = "some" // the prefix of the others has no name of its own
	if !slices.Equal(documented, named) {
		t.Errorf("the library describes the keys %v, Go has %v", documented, named)
	}
	for _, used := range regexp.MustCompile(`\b(?:keys|k)\[(\d+)\]`).FindAllStringSubmatch(redis.Library, -1) {
		if n, _ := strconv.Atoi(used[1]); n < 1 || n > len(named) {
			t.Errorf("the library uses %s, of %d keys", used[0], len(named))
		}
	}
}

func TestKeysOfSomePoolsAreThoseOfTheLibrary(t *testing.T) {
	var documented []string
	described := regexp.MustCompile(`(?m)^--     (\w+:?) +(hash|sorted set|string|prefix)`)
	for _, line := range described.FindAllStringSubmatch(redis.Library, -1) {
		documented = append(documented, line[1])
	}
	if named := redis.SomeNames[:]; !slices.Equal(documented, named) {
		t.Errorf("the library describes the keys %v, Go has %v", documented, named)
	}
	used := map[string]bool{}
	for _, use := range regexp.MustCompile(`\bsome\('(\w+:?)'`).FindAllStringSubmatch(redis.Library, -1) {
		used[use[1]] = true
	}
	for _, name := range redis.SomeNames {
		if !used[name] {
			t.Errorf("the library does not use %s", name)
		}
		delete(used, name)
	}
	delete(used, "") // of any name that a function is given
	if len(used) > 0 {
		t.Errorf("the library uses keys that it does not describe: %v", used)
	}
}

// The library makes the same names of the first key as Go does, and both write in one way that a last sign of life
// follows from the end of its lease.
func TestNamesAreThoseOfTheLibrary(t *testing.T) {
	quoted := "'" + strings.Join(redis.KeyNames[:], "', '") + "'"
	for _, want := range []string{"local NAMES = {" + quoted + "}", "local FOLLOWS = '" + redis.Follows + "' "} {
		if !strings.Contains(redis.Library, want) {
			t.Errorf("the library has not %q", want)
		}
	}
}

// The library keeps the clocks of waiters that the contract says.
func TestClocksOfTheQueueAreThoseOfTheContract(t *testing.T) {
	want := fmt.Sprintf("local TICKET, PRESENCE, PICKUP = %d, %d, %d ", tms.TicketTTL.Milliseconds(),
		tms.PresenceTime.Milliseconds(), tms.PickupTime.Milliseconds())
	for _, want := range []string{want, fmt.Sprintf("local ANSWER = %d ", tms.AnswerTime.Milliseconds())} {
		if !strings.Contains(redis.Library, want) {
			t.Errorf("the library has not %q", want)
		}
	}
}

// A look at a pool carries out as many expiries as the other store's.
func TestALookCarriesOutFew(t *testing.T) {
	if want := fmt.Sprintf("local FEW = %d ", rules.FewExpiries); !strings.Contains(redis.Library, want) {
		t.Errorf("the library has not %q", want)
	}
}

// Every function that Go calls is in the library, and no other.
func TestFunctionsAreThoseOfTheLibrary(t *testing.T) {
	var registered []string
	for _, call := range regexp.MustCompile(`(?m)^register\('(\w+)'`).FindAllStringSubmatch(redis.Library, -1) {
		registered = append(registered, "tms1_"+call[1])
	}
	called := slices.Concat(redis.Functions, redis.OlderFunctions)
	slices.Sort(registered)
	slices.Sort(called)
	if !slices.Equal(registered, called) {
		t.Errorf("the library has %v, Go calls %v", registered, called)
	}
	for _, name := range called {
		if name := strings.TrimPrefix(name, "tms1_"); !strings.Contains(redis.Library, "tms1_"+name+" ") &&
			!strings.Contains(redis.Library, "tms1_"+name+",") {
			t.Errorf("the library does not describe %s", name)
		}
	}
}

// All keys of a pool lie in one hash slot of a cluster.
func TestKeysOfAPoolShareASlot(t *testing.T) {
	for _, key := range redis.PoolKeys("some.pool") {
		if !strings.HasPrefix(key, "tms:{some.pool}:") {
			t.Errorf("key %s has not the pool's hash tag", key)
		}
	}
}
