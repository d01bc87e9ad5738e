package loopback

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Wire carries connections to an address, and can be cut and fall silent as a network does. It is made with [NewWire].
type Wire struct {
	Addr string // host:port, where it listens

	to    string
	mu    sync.Mutex
	conns map[net.Conn]bool
	mute  map[net.Conn]bool // those that carry nothing any more
	flow  chan struct{}     // closed while bytes flow
}

// NewWire returns a wire to the address, which need not be listened on yet. It ends with the test.
func NewWire(t testing.TB, to string) *Wire {
	t.Helper()
	listener, err := net.Listen("tcp", Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{Addr: listener.Addr().String(), to: to, conns: map[net.Conn]bool{},
		mute: map[net.Conn]bool{}, flow: make(chan struct{})}
	close(w.flow)
	t.Cleanup(func() {
		listener.Close()
		w.Cut()
		w.Speak()
	})
	go w.accept(listener)
	return w
}

func (w *Wire) accept(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		go w.carry(near)
	}
}

func (w *Wire) carry(near net.Conn) {
	far, err := net.Dial("tcp", w.target())
	if err != nil {
		reset(near)
		return
	}
	w.hold(near, far)
	defer w.drop(near, far)
	var both sync.WaitGroup
	both.Go(func() { w.pump(near, far) })
	both.Go(func() { w.pump(far, near) })
	both.Wait()
}

// pump copies what one side says, while bytes flow, and passes on that it has no more to say.
func (w *Wire) pump(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.untilFlows()
		if w.isMute(from) {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err == io.EOF {
			to.(*net.TCPConn).CloseWrite()
			return
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

func (w *Wire) untilFlows() {
	w.mu.Lock()
	flow := w.flow
	w.mu.Unlock()
	<-flow
}

func (w *Wire) hold(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.conns[c] = true
	}
}

func (w *Wire) drop(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(w.conns, c)
		delete(w.mute, c)
	}
}

// Cut ends all connections at once, with a reset. New ones are carried.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		reset(c)
	}
}

// Turn lets new connections go to another address, as a proxy does that fails over.
func (w *Wire) Turn(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
}

func (w *Wire) target() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to
}

func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// Mute makes the connections that there are silent for good, as a router does that has forgotten them: they stay, and
// what is said over them is lost, their end too. New ones are carried.
func (w *Wire) Mute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		w.mute[c] = true
	}
}

func (w *Wire) isMute(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mute[c]
}

// Hush makes the wire silent: connections stay, are taken too, and nothing is carried, not even their end. What is said
// meanwhile is carried after [Wire.Speak].
func (w *Wire) Hush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flows() {
		w.flow = make(chan struct{})
	}
}

// Speak ends a [Wire.Hush].
func (w *Wire) Speak() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.flows() {
		close(w.flow)
	}
}

func (w *Wire) flows() bool {
	select {
	case <-w.flow:
		return true
	default:
		return false
	}
}
