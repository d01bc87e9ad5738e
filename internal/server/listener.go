package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
)

// ReservedConnections is how many connections a server has open at most beyond Config.MaxConnections, so that whoever
// watches it, and whoever holds a lease, gets through when requests are carried out on all others.
const ReservedConnections = 8

const (
	onItsWay     = time.Second     // for which a connection without a request may have one in the network
	reservedTime = 5 * time.Second // for the answer of a request that took a reserved place
)

// places is a listener with at most so many connections open at once. Where there is no place for a new one, it
// closes the one that has been without a request longest. A request counts from when it has arrived as a whole, so that
// nobody keeps a place by sending nothing, or slowly. Further connections wait in the system's queue.
type places struct {
	net.Listener
	most int
	now  func() time.Time

	mu      sync.Mutex
	open    int           // connections
	busy    int           // those with a request that is carried out
	idle    *list.List    // the others, each a *place, the longest without a request first
	changed chan struct{} // holds an entry when one of these has changed since Accept looked
	closed  chan struct{}
	close   func()
}

func newPlaces(l net.Listener, most int) *places {
	p := &places{Listener: l, most: most, now: time.Now, idle: list.New()}
	p.changed, p.closed = make(chan struct{}, 1), make(chan struct{})
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *places) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	for {
		place, later := p.admit(conn)
		if place != nil {
			return place, nil
		}
		select {
		case <-p.changed:
		case <-time.After(later):
		case <-p.closed:
			conn.Close()
			return nil, net.ErrClosed
		}
	}
}

func (p *places) Close() error {
	p.close()
	return p.Listener.Close()
}

// admit gives the connection a place, or says how long nobody leaves one who does not do so by themselves.
func (p *places) admit(conn net.Conn) (*place, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	later := time.Hour
	if oldest := p.idle.Front(); p.open >= p.most && oldest != nil {
		victim := oldest.Value.(*place)
		if later = onItsWay - p.now().Sub(victim.since); later <= 0 {
			p.leave(victim)
			victim.Conn.Close()
		}
	}
	if p.open >= p.most+ReservedConnections {
		return nil, later
	}
	p.open++
	place := &place{Conn: conn, places: p}
	p.rest(place)
	return place, 0
}

// rest puts a place behind those that have been without a request for longer. The lock must be held.
func (p *places) rest(place *place) {
	if place.idle != nil {
		p.idle.Remove(place.idle)
	}
	place.since = p.now()
	place.idle = p.idle.PushBack(place)
	p.tell()
}

// leave frees a place. The lock must be held.
func (p *places) leave(place *place) {
	switch {
	case place.left:
		return
	case place.idle != nil:
		p.idle.Remove(place.idle)
	default:
		p.busy--
	}
	place.left = true
	p.open--
	p.tell()
}

func (p *places) tell() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// place is a connection that gives its place back when it is closed. A nil place is one of a connection that nobody
// counts.
type place struct {
	net.Conn
	places *places

	// Guarded by the lock of places.
	idle  *list.Element // nil: a request is carried out
	since time.Time     // since when it is idle
	left  bool
}

type placeKey struct{}

func placeOf(ctx context.Context) *place {
	p, _ := ctx.Value(placeKey{}).(*place)
	return p
}

// placeUnder returns the place that a connection has, which may speak TLS over it.
func placeUnder(conn net.Conn) *place {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return conn.(*place)
}

// arrives says that the header of a request has arrived, whose body may follow.
func (p *place) arrives() {
	if p == nil {
		return
	}
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	if !p.left {
		p.places.rest(p)
	}
}

// begin says that a request is carried out from now on, and keeps the place until rest. Where requests are carried out
// on as many connections as there may be, it refuses all but those that go first, and reports whether a place is a
// reserved one. It also refuses where the place has been given to another.
func (p *place) begin(first bool) (reserved bool, err error) {
	if p == nil {
		return false, nil
	}
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	switch reserved = p.places.busy >= p.places.most; {
	case p.left:
		return false, &goneError{tms.Refuse(tms.ErrOverloaded, "the connection was closed for another one")}
	case reserved && !first:
		return false, overloaded("as many requests are carried out as the server has connections")
	}
	p.places.idle.Remove(p.idle)
	p.idle = nil
	p.places.busy++
	return reserved, nil
}

// follow heeds what package http says of a connection: it is idle when a request has been answered.
func follow(conn net.Conn, state http.ConnState) {
	p := placeUnder(conn)
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	if state != http.StateIdle || p.left {
		return
	}
	if p.idle == nil {
		p.places.busy--
	}
	p.places.rest(p)
}

func (p *place) Close() error {
	p.places.mu.Lock()
	p.places.leave(p)
	p.places.mu.Unlock()
	return p.Conn.Close()
}

// CloseWrite lets net/http end an answer cleanly where it does not read the rest of a request.
func (p *place) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
