package tmstest

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

// misbehaviour is what a server was told to do wrong.
type misbehaviour struct {
	mu    sync.Mutex
	lose  int
	delay time.Duration
	down  bool
	conns map[net.Conn]struct{}
	cut   chan struct{} // closed by Down
}

func newMisbehaviour() *misbehaviour {
	return &misbehaviour{conns: map[net.Conn]struct{}{}, cut: make(chan struct{})}
}

// LoseAnswers has the next n requests carried out without an answer: their connections are closed instead.
func (m *misbehaviour) LoseAnswers(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lose = n
}

// Delay holds every answer back for d after its request was carried out. Zero ends it, for later requests.
func (m *misbehaviour) Delay(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = d
}

// Down closes all connections, and every new one as soon as it is made, until Up. Requests under way may have been
// carried out. The store goes on, so that leases end and tokens return to their pools meanwhile.
func (m *misbehaviour) Down() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return
	}
	m.down = true
	for conn := range m.conns {
		conn.Close()
	}
	close(m.cut) // after the connections, so that no delayed answer slips through
}

// Up ends Down.
func (m *misbehaviour) Up() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		m.down, m.cut = false, make(chan struct{})
	}
}

// wrap is the handler that misbehaves.
func (m *misbehaviour) wrap(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lose, delay, cut := m.next()
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		if lose {
			panic(http.ErrAbortHandler)
		}
		m.hold(r, delay, cut)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// next says what is to go wrong with a request that arrives now.
func (m *misbehaviour) next() (lose bool, delay time.Duration, cut chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if lose = m.lose > 0; lose {
		m.lose--
	}
	return lose, m.delay, m.cut
}

// hold waits until the delay is over, or nobody waits for the answer any more.
func (m *misbehaviour) hold(r *http.Request, delay time.Duration, cut chan struct{}) {
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-cut:
	}
}

// gate is a listener whose connections Down can close.
type gate struct {
	net.Listener
	*misbehaviour
}

// Accept returns the next connection that is made while the server is up.
func (g gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.admit(conn) {
			return gated{conn, g.misbehaviour}, nil
		}
		conn.Close()
	}
}

func (m *misbehaviour) admit(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.down {
		m.conns[conn] = struct{}{}
	}
	return !m.down
}

// gated is a connection that is forgotten when it is closed.
type gated struct {
	net.Conn
	*misbehaviour
}

func (c gated) Close() error {
	c.mu.Lock()
	delete(c.conns, c.Conn)
	c.mu.Unlock()
	return c.Conn.Close()
}
