package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/limit"
)

// StatusClientGone is what is counted, in place of a status, for a request whose client gave up.
const StatusClientGone = 499

// call is one request on its way.
type call struct {
	*http.Request
	writer  http.ResponseWriter // of the answer; an endpoint sets headers only
	buffer  *bytes.Buffer       // of the body, and then of the answer
	body    []byte              // of the request; valid until the endpoint returns
	address netip.Addr          // of the client
	cut     bool                // the answer ended in the middle, which the client must see
	room    reading             // what the body takes of the budget, until the answer is written
	arrived *place              // nil: it has none yet
	begun   bool                // it is carried out
	leave   func()              // lets the next heavy request in; nil: this one is none
	traced  string              // see trace; empty: it has no name yet
}

// reply is what an endpoint answers.
type reply struct {
	status int // zero: 200
	body   any // to be written as JSON; an http.Handler and a Backup write themselves

	// undo takes back what the client was given, where it does not hear of it, and returns the error that says so. Nil:
	// there is nothing to take back.
	undo func(context.Context) error
}

// endpoint answers a call.
type endpoint func(*call) (reply, error)

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// serve is the handler of a route: it has the request answered, writes the answer, counts and logs.
func (s *Server) serve(route route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.active.Add(1)
		defer s.active.Add(-1)
		c := call{Request: r, writer: w, buffer: buffers.Get().(*bytes.Buffer)}
		c.address = s.addressOf(r)
		s.startTrace(&c)
		c.room = reading{budget: s.budget, from: limit.Network(c.address), size: r.ContentLength}
		defer c.done()
		if r.Context().Err() != nil { // before anything is done for it
			placeOf(r.Context()).abandons()
			s.account(route, &c, StatusClientGone, time.Since(start), r.Context().Err())
			return
		}
		reply, err := s.answer(&c, route)
		status, err := s.deliver(&c, reply, err)
		s.account(route, &c, status, time.Since(start), err)
		if c.cut {
			panic(http.ErrAbortHandler) // by which net/http cuts the connection
		}
	}
}

// done gives back what the call has taken.
func (c *call) done() {
	if c.buffer.Cap() <= freeBytes {
		c.buffer.Reset()
		buffers.Put(c.buffer)
	}
	c.room.done()
	if c.arrived != nil && c.ProtoMajor > 1 {
		c.arrived.ends(c.begun, c.Context().Err() != nil)
	}
}

// lighten ends what was heavy about the call.
func (c *call) lighten() {
	if c.leave != nil {
		c.leave()
	}
}

// mayTake lets the call take that long from now, whatever the connection's clock for writing says; that for reading has
// stopped when the body has been read. A writer without clocks has none that could end the call.
func (c *call) mayTake(d time.Duration) {
	http.NewResponseController(c.writer).SetWriteDeadline(time.Now().Add(d))
}

// answer lets the call in and calls the endpoint. A panic becomes an error.
func (s *Server) answer(c *call, route route) (_ reply, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = panicked(reason)
		}
	}()
	if err := s.checkOrigin(c.Request); err != nil {
		return reply{}, err
	}
	if err := s.enter(c, route); err != nil {
		return reply{}, err
	}
	place := placeOf(c.Context())
	if err := place.arrives(); err != nil {
		return reply{}, err
	}
	c.arrived = place
	if takesBody(route.method) {
		if c.body, err = s.readBody(c); err != nil {
			return reply{}, err
		}
	}
	reserved, err := place.begin(route.first)
	if err != nil {
		return reply{}, err
	}
	c.begun = true
	if reserved {
		c.mayTake(reservedTime)
	}
	if len(c.body) > freeBytes {
		if c.leave, err = s.heavy.enter(c.Context()); err != nil {
			return reply{}, err
		}
	}
	return route.endpoint(c)
}

// checkOrigin refuses what a browser sends for a page that is not the server's own. A page can have the name of its own
// host lead to this machine after it was loaded (DNS rebinding); the browser then takes the server for the page's own,
// and only the name in the Host header tells.
func (s *Server) checkOrigin(r *http.Request) error {
	if s.origins.Check(r) != nil {
		return tms.ErrForbidden
	}
	if s.config.LocalOnly && !namesThisMachine(r.Host) {
		return tms.Refuse(tms.ErrForbidden,
			"the server listens for this machine only, and the Host header names another; "+
				"say localhost or 127.0.0.1, or start the server with --insecure")
	}
	return nil
}

// open are the routes that ask for no key. They tell nothing of pools, and watch dogs have none.
var open = map[string]bool{api.PathLive: true, api.PathReady: true, api.PathOpenAPI: true}

// enter asks who sends the request, before its body is read, where the route or the store wants to know.
func (s *Server) enter(c *call, route route) error {
	ctx := c.Context()
	if s.config.TellsVisits {
		ctx = limit.With(ctx, &limit.Visit{Address: c.address, Header: c.writer.Header(), Trace: c.trace})
	}
	if s.config.Access != nil && !open[route.pattern] {
		known, err := s.authenticate(ctx, c)
		if err != nil {
			return s.keepOut(ctx, c, route, err)
		}
		ctx = known
	}
	if ctx != c.Context() {
		c.Request = c.WithContext(ctx)
	}
	return nil
}

func (s *Server) authenticate(ctx context.Context, c *call) (context.Context, error) {
	var shown *x509.Certificate
	if c.TLS != nil && len(c.TLS.VerifiedChains) > 0 {
		shown = c.TLS.VerifiedChains[0][0]
	}
	return s.config.Access.Enter(ctx, c.Header["Authorization"], shown)
}

// keepOut returns the refusal of a caller whom the server does not know. An address that fails too often hears that in
// the place of what was wrong.
func (s *Server) keepOut(ctx context.Context, c *call, route route, err error) error {
	if tms.CodeOf(err) != tms.ErrUnauthenticated { // who vouches for the caller cannot be asked
		return err
	}
	rate, from := s.config.FailedAuth, c.room.from
	if !rate.IsZero() {
		if drawn, _ := s.strangers.Take(ctx, from.String(), rate, 1); drawn.Units == 0 {
			s.config.Limited("authentication")
			return limit.Refusal(rate, drawn.Wait)
		}
	}
	s.config.Denied(ctx, route.pattern, err)
	c.writer.Header().Set("WWW-Authenticate", "Bearer")
	return err
}

// everywhere refuses a caller of the route who has not the right in all pools. Where nobody is asked for a key, all
// have it.
func (s *Server) everywhere(c *call, route string, right tms.Right) error {
	if s.config.Access == nil {
		return nil
	}
	err := s.config.Access.Everywhere(c.Context(), right)
	if err != nil {
		s.config.Denied(c.Context(), route, err)
	}
	return err
}

func takesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodDelete
}

// readBody reads the whole body. It refuses one that is too large or not JSON.
func (s *Server) readBody(c *call) ([]byte, error) {
	if c.ContentLength > s.config.MaxBodyBytes {
		c.writer.Header().Set("Connection", "close") // the rest will not be read
		return nil, s.tooLarge()
	}
	body := c.Body
	if c.ContentLength < 0 {
		body = http.MaxBytesReader(c.writer, body, s.config.MaxBodyBytes)
	}
	if err := c.room.fill(c.buffer, body); err != nil {
		c.writer.Header().Set("Connection", "close") // the rest will not be read
		return nil, s.unreadable(err)
	}
	if c.buffer.Len() == 0 {
		return nil, nil
	}
	return c.buffer.Bytes(), checkMedia(c.Header)
}

func (s *Server) unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, tms.ErrOverloaded):
		return err
	case errors.As(err, &tooLarge):
		return s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return tms.Invalid("", "the body did not arrive within %v", s.config.ReadTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &goneError{tms.Invalid("", "the body ended early")}
	}
	return tms.Invalid("", "the body cannot be read")
}

// goneError says that the client left before its request had arrived, or before it was answered.
type goneError struct{ error }

func (g *goneError) Unwrap() error { return g.error }

func (s *Server) tooLarge() error {
	return tms.Refuse(tms.ErrBodyTooLarge, "the body has more than %d bytes", s.config.MaxBodyBytes)
}

// checkMedia refuses a body that does not say it is JSON. Browsers cannot send one to another site without asking
// first.
func checkMedia(h http.Header) error {
	for _, coding := range h.Values("Content-Encoding") {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return tms.Refuse(tms.ErrUnsupportedMedia, "send the body without Content-Encoding")
		}
	}
	if given := h["Content-Type"]; len(given) != 1 || given[0] != api.JSON && !isJSON(given[0]) {
		return tms.Refuse(tms.ErrUnsupportedMedia,
			"send the body as JSON with Content-Type: application/json (curl --json does)")
	}
	return nil
}

func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	charset, ok := params["charset"]
	return err == nil && media == api.JSON && (!ok || strings.EqualFold(charset, "utf-8"))
}

// decode reads the request out of the body alone.
func (c *call) decode(request any) error {
	if c.URL.RawQuery != "" {
		return noQuery(c)
	}
	return api.Decode(c.body, request)
}

// decodeWithID does that, and reads its request_id from there or from the header. Both may be given if they are the
// same.
func (c *call) decodeWithID(request any, id *string) error {
	if err := c.decode(request); err != nil {
		return err
	}
	for _, given := range c.Header[api.HeaderRequestID] {
		if given == "" {
			return tms.Invalid("request_id", "the header %s must not be empty", api.HeaderRequestID)
		}
		if *id != "" && *id != given {
			return tms.Invalid("request_id", "is given twice, and differently")
		}
		*id = given
	}
	return nil
}

// deliver writes the reply, or takes back what it tells of where the client will not hear of it.
func (s *Server) deliver(c *call, reply reply, err error) (int, error) {
	// before a word: one that still reads must not read of what it has not
	if reply.undo != nil && c.Context().Err() != nil {
		err = c.takeBack(reply.undo)
		reply.undo = nil
	}
	status, err := s.write(c, reply, err)
	c.lighten()
	if reply.undo != nil && status != http.StatusOK {
		err = c.takeBack(reply.undo)
	}
	return status, err
}

const takeBackTimeout = 2 * time.Second

func (c *call) takeBack(undo func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), takeBackTimeout)
	defer cancel()
	return &goneError{undo(ctx)}
}

// write writes the reply, or the error as a problem, and returns the status for the books.
func (s *Server) write(c *call, reply reply, err error) (int, error) {
	switch body := reply.body.(type) {
	case http.Handler:
		recorder := &recorder{ResponseWriter: c.writer, status: http.StatusOK}
		body.ServeHTTP(recorder, c.Request)
		return recorder.status, nil
	case Backup:
		return s.stream(c, body)
	}
	c.buffer.Reset()
	contentType, status := api.JSON, cmp.Or(reply.status, http.StatusOK)
	if err == nil {
		err = api.Encode(c.buffer, reply.body)
	}
	if err != nil {
		contentType, status = api.ProblemJSON, s.problem(c, err)
	}
	h := c.writer.Header()
	h["Content-Type"] = []string{contentType}
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(c.buffer.Len())}
	c.writer.WriteHeader(status)
	return booked(c.Request, status, err, c.send(reply.undo != nil)), err
}

// send writes the buffer. Where something has to be taken back if it does not go out, it sees it out; otherwise
// net/http does that later, and says to nobody whether it could.
func (c *call) send(seeOut bool) error {
	_, err := c.writer.Write(c.buffer.Bytes())
	if err != nil || !seeOut {
		return err
	}
	if err = http.NewResponseController(c.writer).Flush(); errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

var noStore = []string{"no-store"} // answers hold tokens and the proofs of leases

// problem puts the error into the buffer and returns its status.
func (s *Server) problem(c *call, err error) int {
	h, buffer := c.writer.Header(), c.buffer
	problem := api.NewProblem(err)
	problem.Instance = url.PathEscape(c.trace())
	if seconds := problem.RetryAfterSeconds(); seconds > 0 {
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	buffer.Reset()
	if api.Encode(buffer, problem) != nil { // a detail or a field that is not UTF-8
		buffer.Reset()
		plain := api.NewProblem(tms.CodeOf(err))
		plain.Instance = problem.Instance
		api.Encode(buffer, plain)
	}
	return problem.Status
}

// booked tells a client that gave up from a server that failed.
func booked(r *http.Request, status int, err, broken error) int {
	var left *goneError
	failed := err != nil && tms.CodeOf(err) == ""
	if broken != nil || errors.As(err, &left) || failed && r.Context().Err() != nil {
		return StatusClientGone
	}
	return status
}

// recorder remembers the status that another handler writes.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// panicError is a panic of an endpoint. Of the panic's value its text holds the type only, unless it is an error of the
// runtime, because the value may hold a token.
type panicError struct {
	reason any
	stack  []byte
}

func panicked(reason any) error { return &panicError{reason, debug.Stack()} }

func (p *panicError) Error() string {
	if err, ok := p.reason.(runtime.Error); ok {
		return "panic: " + err.Error()
	}
	return fmt.Sprintf("panic with a %T", p.reason)
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return otherRoute
}
