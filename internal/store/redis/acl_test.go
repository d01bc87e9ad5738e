package redis_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// ruleOf returns the ACL rule that docs/operate.md gives to a user, as the arguments of ACL.
func ruleOf(t testing.TB, user string) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?s)ACL (SETUSER ` + user + ` .*?)\n` + "```").FindSubmatch(page)
	if rule == nil {
		t.Fatal("docs/operate.md has no rule")
	}
	return strings.Fields(strings.ReplaceAll(string(rule[1]), "\\\n", " "))
}

// allow makes the user of the rule, and returns how a store names it.
func allow(t testing.TB, c rueidis.Client, server *redistest.Server) (url string) {
	t.Helper()
	ask(t, c, append([]string{"ACL"}, ruleOf(t, "tms")...)...)
	return "redis://tms:PASSWORD@" + server.Addr
}

// asSmallest opens two servers of one Redis as the user of the rule. Redis remembers what it has refused.
func asSmallest(t *testing.T) storetest.Opener {
	server := redistest.New(t)
	url := allow(t, raw(t, server), server)
	t.Cleanup(func() { refusesNothing(t, server) })
	return func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		c, o := raw(t, server), redis.Options{URL: url, Now: clock.Now}
		ask(t, c, "FLUSHALL")
		return []tms.Sweeper{open(t, server, o), checked{open(t, server, o), c}}
	}
}

var refusedObject = regexp.MustCompile(`object\r\n\$\d+\r\n(\S+)`)

// refusesNothing holds that Redis has refused the user of the rule nothing. From 7.2 on it refuses what the client says
// of itself, which earlier ones do not know, so that the rule cannot name it.
func refusesNothing(t *testing.T, server *redistest.Server) {
	t.Helper()
	for _, refused := range refusedObject.FindAllStringSubmatch(server.Say("ACL LOG"), -1) {
		if refused[1] != "client|setinfo" {
			t.Errorf("Redis has refused the user of the rule: %s", refused[1])
		}
	}
}

// The rule allows what the functions call, and nothing that neither they nor the server calls.
func TestTheSmallestRuleIsTheSmallest(t *testing.T) {
	want := strings.Fields("+auth +hello +ping +role +info +cluster|slots +function|load +fcall +wait +exists " +
		"+zrangebylex +spublish +ssubscribe +sunsubscribe +unsubscribe +punsubscribe +discard")
	for _, call := range regexp.MustCompile(`call\('([A-Z]+)'`).FindAllStringSubmatch(redis.Library, -1) {
		want = append(want, "+"+strings.ToLower(call[1]))
	}
	var got []string
	for _, word := range ruleOf(t, "tms") {
		if strings.HasPrefix(word, "+") {
			got = append(got, word)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("the rule has\n%v, want\n%v", got, want)
	}
}

// The rule suffices on a Cluster, and under Sentinels with a user of their own.
func TestTheSmallestRuleSuffices(t *testing.T) {
	t.Parallel() // it waits, mostly
	t.Run("on a cluster", func(t *testing.T) {
		nodes := redistest.NewCluster(t, 3)
		for _, node := range nodes {
			allow(t, raw(t, node), node)
		}
		lives(t, open(t, nodes[0], redis.Options{URL: "redis://tms:PASSWORD@" + nodes[0].Addr}), nodes)
	})
	t.Run("under Sentinels", func(t *testing.T) {
		master, replica := redistest.New(t, atOnce...), redistest.New(t, atOnce...)
		redistest.Follow(t, replica, master)
		sentinels := redistest.NewSentinels(t, 3, master)
		for _, node := range []*redistest.Server{master, replica} {
			allow(t, raw(t, node), node)
		}
		for _, sentinel := range sentinels {
			ask(t, raw(t, sentinel), append([]string{"ACL"}, ruleOf(t, "watcher")...)...)
		}
		url := strings.Replace(redistest.SentinelURL(sentinels), "://", "://tms:PASSWORD@", 1) +
			"?sentinel_user=watcher&sentinel_password=PASSWORD"
		s := open(t, master, redis.Options{URL: url, Replicas: 1})
		lives(t, s, append(sentinels, master, replica))
		eventually(t, "a failover begins", func() bool { return redistest.Failover(sentinels[0]) })
		eventually(t, "the replica is the master", func() bool {
			_, err := s.PutPool(t.Context(), "p", tms.PolicyChange{})
			return err == nil && redistest.Master([]*redistest.Server{replica}) != nil
		})
		for _, sentinel := range sentinels {
			refusesNothing(t, sentinel)
		}
	})
}

// lives holds that a store does all that it does, and that no node has refused it anything.
func lives(t *testing.T, s *redis.Store, nodes []*redistest.Server) {
	t.Helper()
	eventually(t, "the store is ready", func() bool { return s.Ready(t.Context()) == nil })
	hear(t, s)
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "x")
	take(t, s, "p")
	join(t, s, "p", ticket("1"), 1)
	release(t, s, "p", "x")
	for _, node := range nodes {
		refusesNothing(t, node)
	}
}

// The password of the user can change while a server runs: Redis takes two for a while, and the server reads its file
// for each connection.
func TestThePasswordChanges(t *testing.T) {
	server := redistest.New(t)
	c, file := raw(t, server), filepath.Join(t.TempDir(), "password")
	allow(t, c, server)
	must(t, os.WriteFile(file, []byte("PASSWORD\n"), 0o600))
	s := open(t, server, redis.Options{URL: "redis://tms@" + server.Addr + "?password_file=" + file})
	put(t, s, "p", tms.PolicyChange{})
	ask(t, c, "ACL", "SETUSER", "tms", ">NEW")
	must(t, os.WriteFile(file, []byte("NEW\n"), 0o600))
	ask(t, c, "ACL", "SETUSER", "tms", "<PASSWORD")
	put(t, s, "p", tms.PolicyChange{}) // over the connection that there was
	ask(t, c, "CLIENT", "KILL", "USER", "tms")
	eventually(t, "the server is back with the new password", func() bool {
		_, err := s.PutPool(t.Context(), "p", tms.PolicyChange{})
		return err == nil
	})
}
