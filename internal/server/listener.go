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
	// of the requests of a connection of HTTP/2 so many may be given up, at once and each second
	mostGivenUp = 2 * maxStreams
	givesUpRate = maxStreams

	onItsWay     = time.Second     // for which a connection without a request may have one in the network
	reservedTime = 5 * time.Second // for the answer of a request that took a reserved place
)

// places is a listener with at most so many connections open at once. Where there is no place for a new one, it
// closes the one that has been without a request longest. A request counts from when it has arrived as a whole, so that
// nobody keeps a place by sending nothing, or slowly. Further connections wait in the system's queue.
//
// A connection of HTTP/2 has many requests at once. So the requests are counted as well, and are no more than the
// connections may be; where there is no room for a new one, connections without a request that is carried out give way,
// with all that arrives over them.
type places struct {
	net.Listener
	most int
	now  func() time.Time

	mu      sync.Mutex
	open    int           // connections
	present int           // requests, from when their headers have arrived
	busy    int           // requests that are carried out
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
	if p.open >= p.most {
		later = p.giveWay()
	}
	if p.open >= p.most+ReservedConnections {
		return nil, later
	}
	p.open++
	place := &place{Conn: conn, places: p}
	p.rest(place)
	return place, 0
}

// giveWay closes the connection that has been without a request longest, or says how long none gives way yet. The lock
// must be held.
func (p *places) giveWay() (later time.Duration) {
	oldest := p.idle.Front()
	if oldest == nil {
		return time.Hour
	}
	victim := oldest.Value.(*place)
	if later = onItsWay - p.now().Sub(victim.since); later <= 0 {
		p.leave(victim)
		victim.Conn.Close()
	}
	return later
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
	}
	p.busy -= place.busy
	p.present -= place.present
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
	idle    *list.Element // nil: a request is carried out
	since   time.Time     // since when it is idle
	present int           // requests
	busy    int           // those of them that are carried out
	givenUp float64       // requests that were given up lately, fewer by givesUpRate each second
	counted time.Time     // when that was so
	left    bool
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

// arrives says that the header of a request has arrived, whose body may follow. It refuses where there is no room for
// one, or where the place has been given to another.
func (p *place) arrives() error {
	if p == nil {
		return nil
	}
	all := p.places
	all.mu.Lock()
	defer all.mu.Unlock()
	if !p.left && all.present >= all.most+ReservedConnections {
		all.giveWay() // perhaps this one
	}
	switch {
	case p.left:
		return closedForAnother()
	case all.present >= all.most+ReservedConnections:
		return overloaded("there are as many requests as the server has connections")
	}
	all.present++
	if p.present++; p.present == 1 {
		all.rest(p)
	}
	return nil
}

func closedForAnother() error {
	return &goneError{tms.Refuse(tms.ErrOverloaded, "the connection was closed for another one")}
}

// begin says that a request that has arrived is carried out from now on. Where as many are as there may be connections,
// it refuses all but those that go first, and reports whether a place is a reserved one.
func (p *place) begin(first bool) (reserved bool, err error) {
	if p == nil {
		return false, nil
	}
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	switch reserved = p.places.busy >= p.places.most; {
	case p.left:
		return false, closedForAnother()
	case reserved && !first:
		return false, overloaded("as many requests are carried out as the server has connections")
	}
	if p.idle != nil {
		p.places.idle.Remove(p.idle)
		p.idle = nil
	}
	p.busy++
	p.places.busy++
	return reserved, nil
}

// ends says that a request has ended that had arrived, whether it was carried out, and whether the caller has given it
// up. A connection whose caller does so too often is closed: to begin requests costs next to nothing, and to carry them
// out does not. It is not for HTTP/1, where a place is kept until the answer is sent: see [follow].
func (p *place) ends(begun, givenUp bool) {
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	if p.left {
		return
	}
	if givenUp && p.givesUp() {
		return
	}
	p.present--
	p.places.present--
	if begun {
		p.busy--
		p.places.busy--
	}
	if p.busy == 0 && p.idle == nil {
		p.places.rest(p)
	}
	p.places.tell()
}

// abandons says that a request was given up before it was looked at.
func (p *place) abandons() {
	if p == nil {
		return
	}
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	if !p.left {
		p.givesUp()
	}
}

// givesUp counts a request that was given up, and closes the connection, and says so, where there are too many. The
// lock must be held.
func (p *place) givesUp() (closed bool) {
	now := p.places.now()
	p.givenUp = max(0, p.givenUp-givesUpRate*now.Sub(p.counted).Seconds()) + 1
	p.counted = now
	if closed = p.givenUp > mostGivenUp; closed {
		p.places.leave(p)
		p.Conn.Close()
	}
	return closed
}

// follow heeds what package http says of a connection of HTTP/1: its request has been answered when it is idle.
func follow(conn net.Conn, state http.ConnState) {
	if state != http.StateIdle || speaksHTTP2(conn) {
		return
	}
	p := placeUnder(conn)
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	if p.left {
		return
	}
	p.places.busy -= p.busy
	p.places.present -= p.present
	p.busy, p.present = 0, 0
	p.places.rest(p)
}

func speaksHTTP2(conn net.Conn) bool {
	secure, ok := conn.(*tls.Conn)
	return ok && secure.ConnectionState().NegotiatedProtocol == http2
}

// http2 is the name of HTTP/2 when a connection agrees on it.
const http2 = "h2"

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
