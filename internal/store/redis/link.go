package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

// pause is how long a failed attempt to connect stands for those that ask next.
const pause = 100 * time.Millisecond

type dialFunc = func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)

// dialer marks the errors of dial, and of the default way if that is nil, as being from before anything was sent.
// Whoever dials has no connection that works.
func (l *link) dialer(dial dialFunc) dialFunc {
	if dial == nil {
		dial = dialTCP
	}
	return func(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		l.suspect.Store(true)
		conn, err := dial(ctx, address, d, config)
		if err != nil {
			return nil, unsent{err}
		}
		l.dials.Add(1)
		l.conns.Store(conn, true)
		return carried{conn, l}, nil
	}
}

// carried is a connection of a link.
type carried struct {
	net.Conn
	link *link
}

// Close implements [net.Conn].
func (c carried) Close() error {
	c.link.conns.Delete(c.Conn)
	return c.Conn.Close()
}

// leave gives up the connections, so that others are dialled: at the same address, or behind the same name, another
// server may be by now. It does so once a second at most. What is on its way ends on the old connections, which are
// closed when it must have ended, unless at once says that nothing is that could not be asked again.
func (l *link) leave(atOnce bool) {
	now, last := time.Now().UnixNano(), l.left.Load()
	if now-last < int64(time.Second) || !l.left.CompareAndSwap(last, now) {
		return
	}
	if !atOnce {
		l.replace()
		return
	}
	l.conns.Range(func(conn, _ any) bool {
		conn.(net.Conn).Close()
		return true
	})
}

// replace makes another client.
func (l *link) replace() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	old := l.client.Swap(nil)
	if old == nil { // one is on its way
		return
	}
	l.attempt = &attempt{done: make(chan struct{})}
	go l.connect(l.attempt)
	l.retired = append(l.retired, *old)
	time.AfterFunc(2*l.timeout, l.discard)
}

// discard closes the client that was replaced first.
func (l *link) discard() {
	l.mu.Lock()
	var first rueidis.Client
	if len(l.retired) > 0 {
		first, l.retired = l.retired[0], l.retired[1:]
	}
	l.mu.Unlock()
	if first != nil {
		first.Close()
	}
}

func dialTCP(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return d.DialContext(ctx, "tcp", address)
	}
	secure := tls.Dialer{NetDialer: d, Config: config}
	return secure.DialContext(ctx, "tcp", address)
}

// link makes the client when it is first needed, tries again after a failure, and keeps the library loaded. Once made,
// the client connects again by itself. A store has one for its calls, and one on which it only listens: Redis closes a
// connection that subscribes when it falls behind by far less than an answer may hold.
type link struct {
	option  rueidis.ClientOption
	timeout time.Duration
	log     *slog.Logger
	version int64                                       // of the library that it loads
	prepare func(context.Context, rueidis.Client) error // of a new client; nil: nothing
	client  atomic.Pointer[rueidis.Client]
	loading sync.Mutex   // held while the library is loaded
	suspect atomic.Bool  // set while nothing was answered since a connection was dialled or broke
	dials   atomic.Int64 // how many connections there have been
	conns   sync.Map     // those that there are: net.Conn → true
	left    atomic.Int64 // when they were given up last, Unix time in ns

	mu      sync.Mutex
	attempt *attempt // the last one
	retired []rueidis.Client
	closed  bool
}

// attempt is one attempt to connect.
type attempt struct {
	done   chan struct{} // closed when client or err is set
	client rueidis.Client
	err    error
	until  time.Time // how long a failure stands
}

func newLink(option rueidis.ClientOption, timeout time.Duration, log *slog.Logger) *link {
	l := &link{option: option, timeout: timeout, log: log, version: libraryVersion}
	l.option.DialCtxFn = l.dialer(option.DialCtxFn)
	return l
}

// connected returns the client. Its errors are from before anything was sent.
func (l *link) connected(ctx context.Context) (rueidis.Client, error) {
	if client := l.client.Load(); client != nil {
		return *client, nil
	}
	a := l.try()
	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, unsent{ctx.Err()}
	}
	if a.err != nil {
		return nil, unsent{a.err}
	}
	return a.client, nil
}

// try returns the attempt under way, the last one while its failure stands, or else a new one.
func (l *link) try() *attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.attempt != nil && !l.attempt.over() {
		return l.attempt
	}
	l.attempt = &attempt{done: make(chan struct{})}
	if l.closed {
		l.attempt.err = rueidis.ErrClosing
		close(l.attempt.done)
		return l.attempt
	}
	go l.connect(l.attempt)
	return l.attempt
}

// over reports whether the attempt failed a while ago.
func (a *attempt) over() bool {
	select {
	case <-a.done:
		return a.err != nil && time.Now().After(a.until)
	default:
		return false
	}
}

// connect makes the client and prepares it.
func (l *link) connect(a *attempt) {
	defer close(a.done)
	client, err := rueidis.NewClient(l.option)
	if err == nil && l.prepare != nil {
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		defer cancel()
		if err = l.prepare(ctx, client); err != nil {
			client.Close()
		}
	}
	if err != nil {
		a.err, a.until = err, time.Now().Add(pause)
		return
	}
	a.client = client
	l.client.Store(&client)
}

// reload loads the library after a server said that it has not got it.
func (l *link) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	client, err := l.connected(ctx)
	if err != nil {
		return err
	}
	if err := l.load(ctx, client); err != nil {
		return unsent{fmt.Errorf("loading the function library: %w", err)}
	}
	return nil
}

// close ends the client, and waits for an attempt under way.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	a := l.attempt
	l.mu.Unlock()
	if a != nil {
		<-a.done
	}
	if client := l.client.Load(); client != nil {
		(*client).Close()
	}
	l.mu.Lock()
	retired := l.retired
	l.retired = nil
	l.mu.Unlock()
	for _, client := range retired {
		client.Close()
	}
}

var _ tms.Readier = (*Store)(nil)
