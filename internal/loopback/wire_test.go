package loopback_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/loopback"
)

// echo answers every connection with what it says, and returns its address.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, w *loopback.Wire) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", w.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func hear(conn net.Conn, d time.Duration) (string, error) {
	conn.SetReadDeadline(time.Now().Add(d))
	text := make([]byte, 5)
	_, err := io.ReadFull(conn, text)
	return string(text), err
}

// A wire carries both ways, holds back what is said while it is silent, and resets its connections when it is cut.
func TestWire(t *testing.T) {
	w := loopback.NewWire(t, echo(t))
	conn := dial(t, w)
	io.WriteString(conn, "hello")
	if text, err := hear(conn, 10*time.Second); text != "hello" || err != nil {
		t.Fatalf("heard %q, error %v", text, err)
	}
	w.Hush()
	io.WriteString(conn, "quiet")
	if text, err := hear(conn, 50*time.Millisecond); err == nil {
		t.Fatalf("a silent wire carried %q", text)
	}
	w.Speak()
	if text, err := hear(conn, 10*time.Second); text != "quiet" || err != nil {
		t.Fatalf("after the silence %q was heard, error %v", text, err)
	}
	w.Cut()
	if _, err := hear(conn, 10*time.Second); err == nil {
		t.Error("a connection outlived the cut")
	}
	again := dial(t, w)
	io.WriteString(again, "again")
	if text, err := hear(again, 10*time.Second); text != "again" || err != nil {
		t.Errorf("after the cut a new connection heard %q, error %v", text, err)
	}
}
