// Package redis is a [tms.Store] in Redis 7.0 or later, or Valkey, that any number of servers share, with the
// [tms.Queue] that they share as well.
//
// Every step is one function of a Redis Functions library, tms.lua, and thereby atomic. Functions are not idempotent,
// so that no call is ever repeated after it was sent, unless Redis itself said that nothing ran.
//
// Who waits is woken over a sharded channel, in the step that hands them a token: each store value has an inbox, and
// subscribes to its channel of each pool in which it shows tickets, on a connection of its own, since Redis closes one
// that subscribes for falling behind by less than what a listing may hold. A list for each inbox that is read with a
// blocking command was measured beside it (BenchmarkWake, six runs of each in turn): it is as fast, 63 to 72 µs from
// wake to waking in the median and 66 to 77 by the channel, but costs Redis 36 µs of CPU instead of 29, since every
// wake is followed by another read. It would also take a connection for each slot of a cluster, and leave keys behind.
// That a list keeps what nobody has heard yet is not needed, as tickets are shown again in any case.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

// DefaultTimeout is the longest that one step waits for Redis where Options do not say.
const DefaultTimeout = 3 * time.Second

// Options says how a store is opened.
type Options struct {
	// URL says where Redis is: redis://user:password@host:port/db, and the other forms that stand in address.go.
	URL string

	// Timeout is the longest that one step waits for Redis; zero: [DefaultTimeout]. A context that ends earlier ends
	// the step earlier. A method that goes in several steps can take longer in all.
	Timeout time.Duration

	// Now is the store's clock. Nil: the clock of Redis, which is the one to use where several servers share it.
	Now func() time.Time

	// NewID draws the values of generated tokens and the IDs of leases. Nil: [tms.NewValue].
	NewID func() string

	// OldMaster is for how long a Redis that was given up may still be asked by somebody. A lease that nobody ended is
	// over by so much later than its holder was told. Zero: three seconds where Sentinels or a cluster say who the
	// master is, and none for a lone Redis. Negative: none.
	OldMaster time.Duration

	// Lossless says that no answer is ever lost: a lone Redis that syncs every write before it answers. Then a restart
	// is no takeover that settles, and leases may last for longer than an hour.
	Lossless bool

	// Replicas is how many replicas must have what an answer rests on before it is given, refusals included; lookups
	// and listings do not wait. Where there are too few the outcome is unknown: [tms.ErrNotDurable]. Zero: none.
	Replicas int

	Logger *slog.Logger // nil: no logs
}

// Store is a [tms.Store] in Redis.
type Store struct {
	link  *link
	place string // "@" and the number of the database, or "" for the first
	now   func() time.Time
	newID func() string
	wakes wakes
	pulse *pulse

	changes *combiner[act, tms.TokenResult]
	assigns *combiner[tms.AssignRequest, tms.AssignResult]

	replicas  *replicas
	sentinels *sentinels // nil: there are none

	id     atomic.Pointer[string]      // of the data, as this server found it
	reset  atomic.Pointer[tms.Refusal] // set once the data is known to be other than it was
	unfit  atomic.Pointer[tms.Refusal] // set while no new lease may begin
	served sync.Map                    // pools that were there: name → the one of KEYS
}

// Open returns a store on the Redis at o.URL. It does not wait for Redis, and does not fail because Redis is away: the
// store connects when it is first asked, and again whenever the connection is lost. It fails if the URL is wrong.
func Open(o Options) (*Store, error) {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.NewID == nil {
		o.NewID = tms.NewValue
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	option, err := clientOption(o.URL, o.Timeout)
	if err != nil {
		return nil, err
	}
	s := &Store{link: newLink(option, o.Timeout, o.Logger), now: o.Now, newID: o.NewID}
	s.changes, s.assigns = newCombiner(s.change), newCombiner(s.assign)
	s.replicas = newReplicas(o.Replicas, s.link, newLink(option, o.Timeout, o.Logger))
	s.sentinels = newSentinels(option, o)
	s.pulse = newPulse(o, option.Sentinel.MasterSet != "")
	if option.SelectDB > 0 {
		s.place = "@" + strconv.Itoa(option.SelectDB)
	}
	s.wakes.inbox = tms.NewValue()
	s.wakes.link = newLink(option, o.Timeout, o.Logger)
	s.link.prepare = s.prepare
	s.pulse.beating.Go(s.beats)
	return s, nil
}

// Close ends the connections. Calls under way end with an error.
func (s *Store) Close() error {
	s.pulse.end()
	s.wakes.link.close()
	s.replicas.waits.close()
	s.link.close()
	s.pulse.beating.Wait()
	s.sentinels.close()
	return nil
}

// again is the answer of a step that carried out some expiries and has to be run once more. As there are only so many
// expiries, that comes to an end.
const again = "again"

// call runs one function on a pool. Its error is a refusal, or says that the outcome is unknown. The pool "default" is
// made if it is missing.
func (s *Store) call(ctx context.Context, pool, function string, args ...string) (*answer, error) {
	a, err := s.callOnce(ctx, pool, function, args)
	if pool == tms.DefaultPool && errors.Is(err, tms.ErrPoolNotFound) {
		if _, err := s.PutPool(ctx, pool, tms.PolicyChange{}); err != nil {
			return nil, err
		}
		a, err = s.callOnce(ctx, pool, function, args)
	}
	return a, err
}

// repeat runs the function until it no longer asks for another step.
func (s *Store) repeat(ctx context.Context, pool, function string, args ...string) (*answer, error) {
	for {
		a, err := s.call(ctx, pool, function, args...)
		if !errors.Is(err, errAgain) {
			return a, err
		}
	}
}

func (s *Store) callOnce(ctx context.Context, pool, function string, args []string) (*answer, error) {
	key, served := s.keyOf(pool)
	result, err := s.run(ctx, function, key, func(b rueidis.Builder) rueidis.Completed {
		return b.Fcall().Function(function).Numkeys(1).Key(key).Arg(s.when()).Arg(args...).Build()
	})
	if err != nil {
		return nil, err
	}
	a, err := readAnswer(pool, result)
	switch {
	case errors.Is(err, tms.ErrPoolNotFound):
		if lost := s.lookForPool(ctx, pool); lost != nil {
			err = lost
		}
	case err == nil && !served && function != fnPurge:
		s.served.Store(pool, key)
	}
	return a, err
}

// keyOf returns the one of KEYS of every function for the pool, and whether it was there before.
func (s *Store) keyOf(pool string) (key string, served bool) {
	if known, served := s.served.Load(pool); served {
		return known.(string), true
	}
	return poolKeys(pool)[0], false
}

// run carries a function out on the node of a key, and returns its answer once it may be given.
func (s *Store) run(ctx context.Context, function, key string, build func(rueidis.Builder) rueidis.Completed) (
	result rueidis.RedisMessage, err error) {
	if err := s.admit(ctx, function); err != nil {
		return result, err
	}
	dials := s.link.dials.Load()
	result, err = s.do(ctx, build)
	if isUnknownFunction(err) {
		if err = s.reload(ctx, function); err == nil {
			result, err = s.do(ctx, build)
		}
	}
	if err != nil {
		return result, outcome(err)
	}
	if err := s.sentinels.vouch(); err != nil && !reads[function] {
		return result, fmt.Errorf("redis: the answer came from a server that may be the master no more: %v", err)
	}
	if err := s.replicas.have(ctx, key, function, dials); err != nil {
		return result, fmt.Errorf("redis: %w", err)
	}
	return result, nil
}

// do sends one command and waits for its result until ctx or the step's time is over.
func (s *Store) do(ctx context.Context, build func(rueidis.Builder) rueidis.Completed) (rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, s.link.timeout)
	defer cancel()
	client, err := s.link.connected(ctx)
	if err != nil {
		return rueidis.RedisMessage{}, err
	}
	result := s.send(ctx, client, build(client.B()))
	s.link.suspect.Store(result.NonRedisError() != nil)
	s.heed(result.Error())
	return result.ToMessage()
}

// heed leaves a server that is a master no more, which keeps its connections. In a cluster the client sees to that.
func (s *Store) heed(err error) {
	text, _ := asRedis(err)
	if (strings.HasPrefix(text, "READONLY") || errors.Is(err, errReplica)) && !s.onCluster() {
		s.link.leave(false)
		s.wakes.link.leave(true)
		s.replicas.waits.leave(true)
	}
}

// send hands the command to rueidis, which watches ctx while it waits for the reply, but neither while it waits for
// another call's attempt to connect nor while its queue is full. Both happen only to a connection in trouble, and then
// the call gets a goroutine of its own, which rueidis frees when it gives the connection up.
func (s *Store) send(ctx context.Context, client rueidis.Client, cmd rueidis.Completed) rueidis.RedisResult {
	if !s.link.suspect.Load() {
		return client.Do(ctx, cmd)
	}
	done := make(chan rueidis.RedisResult, 1)
	go func() { done <- client.Do(ctx, cmd) }()
	select {
	case result := <-done:
		return result
	case <-ctx.Done():
		return rueidis.NewErrorResult(ctx.Err())
	}
}

// ms returns a duration as the functions take it, "" for zero.
func ms(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}

var errMalformed = errors.New("an answer of the function library could not be read")

func malformed(err error) error { return fmt.Errorf("redis: %w: %w", errMalformed, err) }
