package redis_test

import (
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

func TestQueueContract(t *testing.T) {
	server := redistest.New(t)
	storetest.RunQueue(t, func(t testing.TB, clock *storetest.Clock) []tms.Store {
		c := raw(t, server)
		ask(t, c, "FLUSHALL")
		return []tms.Store{checked{open(t, server, redis.Options{Now: clock.Now}), c}}
	})
}

func TestQueueContractOnTwoServersOfOneRedis(t *testing.T) {
	server := redistest.New(t)
	storetest.RunQueue(t, func(t testing.TB, clock *storetest.Clock) []tms.Store {
		c, o := raw(t, server), redis.Options{Now: clock.Now}
		ask(t, c, "FLUSHALL")
		return []tms.Store{open(t, server, o), checked{open(t, server, o), c}}
	})
}
