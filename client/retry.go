package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	tms "github.com/manankarani/token-manager"
)

const (
	firstPause = 50 * time.Millisecond // the longest before the second attempt; it doubles with every further one
	mostPause  = 2 * time.Second       // shorter than a place in a queue is kept
)

// do asks until there is an answer, a refusal, or no sense in asking again. It says when the last attempt was sent, by
// the client's clock, and whether an earlier one may have been carried out, so that a refusal may only say that the
// work is done.
func (c *Client) do(ctx context.Context, a ask, out any) (sent time.Time, doubt bool, err error) {
	p := c.patience(ctx)
	for {
		sent = c.clock.now()
		if err = c.send(ctx, a, out); err == nil || !p.again(ctx, err, a.repeat) {
			return sent, p.doubt, p.explain(ctx, err)
		}
	}
}

// patience decides about further attempts of one call.
type patience struct {
	until    time.Time // no pause may last longer
	fixed    bool      // until stays as it is
	attempts int       // that failed in a row
	doubt    bool      // one of them may have been carried out
	last     error     // of the attempt before
}

// patience returns one that lasts until the context's deadline, or where it has none for the time of the options.
func (c *Client) patience(ctx context.Context) *patience {
	if c.retryFor <= 0 {
		return &patience{fixed: true}
	}
	if deadline, ok := ctx.Deadline(); ok {
		return &patience{until: deadline, fixed: true}
	}
	return &patience{until: time.Now().Add(c.retryFor)}
}

// again reports whether to make another attempt after one that ended in err, and pauses before it. An attempt that may
// have been carried out is followed by another only where repeat says that this does no harm.
func (p *patience) again(ctx context.Context, err error, repeat bool) bool {
	var f *failure
	if !errors.As(err, &f) {
		return false
	}
	p.doubt = p.doubt || !f.unchanged
	if !f.passing || p.doubt && !repeat {
		return false
	}
	left := time.Until(p.until)
	pause := max(f.pause, min(left, backoff(p.attempts)))
	if left <= 0 || left < pause {
		return false
	}
	p.attempts++
	p.last = err
	return sleep(ctx, pause) == nil
}

// reached says that an attempt which ended in err of a call that waits had got as far as a server, unless it had not:
// from then on only the end of the wait ends the patience, so that the wait outlives its server.
func (p *patience) reached(err error, end time.Time) {
	var f *failure
	if errors.As(err, &f) && !f.nobody && !p.fixed && end.After(p.until) {
		p.until = end
	}
}

// answered forgets what failed before, because the server has answered that the caller waits. From now on only the end
// of the wait ends the patience.
func (p *patience) answered(end time.Time) {
	if !p.fixed && end.After(p.until) {
		p.until = end
	}
	*p = patience{until: p.until, fixed: true}
}

// explain makes the last attempt's error that of the call. It carries no code where an earlier attempt may have been
// carried out and this one only did not get through, and it is the context's where that ended. It is ErrNotSent where
// no attempt can have been carried out.
func (p *patience) explain(ctx context.Context, err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	if !p.doubt && tms.CodeOf(err) != "" {
		return err
	}
	err = p.inContext(ctx, uncoded(err))
	if !p.doubt {
		err = notSent{err}
	}
	return err
}

// inContext makes the error that of the context where it has ended.
func (p *patience) inContext(ctx context.Context, err error) error {
	switch ended := ctx.Err(); {
	case ended == nil:
		return err
	case !errors.Is(err, ended):
		return fmt.Errorf("%w; before that: %w", ended, err)
	case p.last != nil:
		return fmt.Errorf("%w; before that: %w", err, uncoded(p.last))
	}
	return err
}

// backoff returns the pause after so many failed attempts: a random part of a time that doubles, so that those who
// failed together do not come back together.
func backoff(attempts int) time.Duration {
	return rand.N(min(mostPause, firstPause<<min(attempts, 10))) + time.Millisecond
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
