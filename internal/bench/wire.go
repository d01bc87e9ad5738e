package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// Wire says how connections reach a server: straight, without a proxy, and with requests that are prepared, so that
// what is measured is the server and not a client of HTTP.
type Wire struct {
	URL  *url.URL
	TLS  *tls.Config            // of https; nil: the system's
	Key  func() (string, error) // asked for with each connection; nil: none
	Pool string
}

// Connect returns a connection that is dialled with its first request, and again after it broke.
func (w Wire) Connect() Conn {
	pool, _ := json.Marshal(w.Pool) // strings cannot fail
	return &wire{Wire: w, pool: `{"pool":` + string(pool)}
}

// wire is one connection.
type wire struct {
	Wire
	pool string // how all bodies begin
	head string // what all requests have between their path and the length of their body
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	stop func() bool // forgets the context that ends the connection
}

// slowest is the longest that an answer takes.
const slowest = 30 * time.Second

// Do implements [Conn]. An error without a code leaves the connection closed.
func (w *wire) Do(ctx context.Context, verb string, key tms.LeaseKey) (tms.LeaseKey, error) {
	if w.conn == nil {
		if err := w.dial(ctx); err != nil {
			return key, err
		}
	}
	given, err := w.ask(verb, key)
	if err != nil && tms.CodeOf(err) == "" {
		w.Close()
	}
	return given, err
}

// Close implements [Conn].
func (w *wire) Close() error {
	if w.conn == nil {
		return nil
	}
	w.stop()
	err := w.conn.Close()
	w.conn = nil
	return err
}

// dial connects, for as long as ctx lasts.
func (w *wire) dial(ctx context.Context) error {
	head, err := w.headers()
	if err != nil {
		return err
	}
	dial, limit := (&net.Dialer{}).DialContext, time.Now().Add(slowest)
	port := "80"
	if w.URL.Scheme == "https" {
		port = "443"
		config := w.TLS.Clone()
		if config == nil {
			config = &tls.Config{}
		}
		config.NextProtos = []string{"http/1.1"}
		dial = (&tls.Dialer{Config: config}).DialContext
	}
	if given := w.URL.Port(); given != "" {
		port = given
	}
	first, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	conn, err := dial(first, "tcp", net.JoinHostPort(w.URL.Hostname(), port))
	if err != nil {
		return err
	}
	w.head, w.conn, w.in = head, conn, bufio.NewReader(conn)
	w.stop = context.AfterFunc(ctx, func() { conn.Close() })
	return nil
}

func (w *wire) headers() (string, error) {
	head := " HTTP/1.1\r\nHost: " + w.URL.Host + "\r\nUser-Agent: tms-bench\r\nContent-Type: " + api.JSON + "\r\n"
	if w.Key != nil {
		key, err := w.Key()
		if err != nil {
			return "", err
		}
		if key != "" {
			head += "Authorization: Bearer " + key + "\r\n"
		}
	}
	return head + "Content-Length: ", nil
}

// routes are the methods and paths of the verbs.
var routes = map[string][2]string{
	Generate: {"POST ", api.PathGenerate}, Assign: {"POST ", api.PathAssign}, KeepAlive: {"POST ", api.PathKeepAlive},
	Unblock: {"POST ", api.PathUnblock}, Delete: {"DELETE ", api.PathDelete}, Lookup: {"POST ", api.PathLookup},
}

// ask sends a request and reads its answer.
func (w *wire) ask(verb string, key tms.LeaseKey) (tms.LeaseKey, error) {
	w.conn.SetDeadline(time.Now().Add(slowest))
	body, route := w.body(verb, key), routes[verb]
	w.out = append(w.out[:0], route[0]+strings.TrimSuffix(w.URL.Path, "/")+route[1]+w.head...)
	w.out = append(strconv.AppendInt(w.out, int64(len(body)), 10), "\r\n\r\n"+body...)
	if _, err := w.conn.Write(w.out); err != nil {
		return key, err
	}
	response, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return key, err
	}
	defer func() {
		io.Copy(io.Discard, response.Body)
		if response.Close {
			w.Close()
		}
	}()
	return given(verb, key, response)
}

// body returns what a request says.
func (w *wire) body(verb string, key tms.LeaseKey) string {
	switch verb {
	case Generate:
		return w.pool + `,"count":1}`
	case Assign:
		return w.pool + `,"client_id":"` + clientID + `"}`
	case Lookup:
		key.LeaseID = "" // it looks at the token, whoever holds it
	}
	named, _ := json.Marshal(struct {
		Token   string `json:"token"`
		LeaseID string `json:"lease_id,omitempty"`
	}{key.Token, key.LeaseID}) // strings cannot fail
	return w.pool + "," + string(bytes.TrimPrefix(named, []byte("{")))
}

// given reads as much of an answer as the load needs.
func given(verb string, key tms.LeaseKey, response *http.Response) (tms.LeaseKey, error) {
	fine := response.StatusCode < 300
	if fine && verb != Assign {
		return key, nil
	}
	var answer struct {
		Token   string `json:"token"`
		LeaseID string `json:"lease_id"`
		Code    string `json:"code"`
	}
	err := json.NewDecoder(response.Body).Decode(&answer)
	switch {
	case fine && err == nil && answer.Token != "" && answer.LeaseID != "":
		return tms.LeaseKey{Token: answer.Token, LeaseID: answer.LeaseID}, nil
	case !fine && err == nil && answer.Code != "":
		return key, tms.Code(answer.Code)
	}
	return key, fmt.Errorf("something else than TMS answered %s", response.Status)
}
