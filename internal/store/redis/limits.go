package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/manankarani/token-manager/internal/limit"
)

// bucketPrefix begins the names of the keys of buckets. Each lies in a slot of its own.
const bucketPrefix = "tms:limit:"

// Draw implements [limit.Source], by the clock of Redis. What a failover loses of a bucket is free: a limit is not
// worth waiting for replicas. Its errors are refusals, or say that Redis did not answer.
func (s *Store) Draw(ctx context.Context, name string, rate limit.Rate, least, most int) (limit.Drawn, error) {
	build := func(b rueidis.Builder) rueidis.Completed {
		return b.Fcall().Function(fnDraw).Numkeys(1).Key(bucketPrefix+name).
			Arg(strconv.FormatFloat(rate.Interval(), 'f', -1, 64), strconv.Itoa(rate.Burst), strconv.Itoa(least),
				strconv.Itoa(most)).Build()
	}
	result, err := s.do(ctx, build)
	if isUnknownFunction(err) {
		if err = s.reload(ctx, fnDraw); err == nil {
			result, err = s.do(ctx, build)
		}
	}
	if err != nil {
		return limit.Drawn{}, outcome(err)
	}
	return readDrawn(result)
}

func readDrawn(m rueidis.RedisMessage) (limit.Drawn, error) {
	numbers, err := m.AsIntSlice()
	if err != nil || len(numbers) != 4 {
		return limit.Drawn{}, malformed(err)
	}
	wait, full := time.Duration(numbers[2])*time.Microsecond, time.Duration(numbers[3])*time.Microsecond
	return limit.Drawn{Units: int(numbers[0]), Left: int(numbers[1]), Wait: wait, Full: full}, nil
}
