package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// StatusClientGone is what is counted, in place of a status, for a request whose client gave up.
const StatusClientGone = 499

// call is one request on its way.
type call struct {
	*http.Request
	writer http.ResponseWriter // of the answer; an endpoint sets headers only
	body   []byte              // of the request; valid until the endpoint returns
	cut    bool                // the answer ended in the middle, which the client must see
	given  []tms.Token         // what is to be taken back if the answer does not reach the client
	room   reading             // what the body takes of the budget, until the answer is written
	leave  func()              // lets the next heavy request in; nil: this one is none
}

// lighten says that what was heavy about the call is over.
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

// left says whether the client hung up although it was given something.
func (c *call) left() bool { return c.given != nil && c.Context().Err() != nil }

// endpoint answers a call with a status and a body, or with an error.
type endpoint func(*call) (status int, answer any, err error)

// with is the endpoint that decodes a request and gives it to do.
func with[Req any](decode func(*call, *Req) error, do func(context.Context, *Req) (int, any, error)) endpoint {
	return func(c *call) (int, any, error) {
		var request Req
		if err := decode(c, &request); err != nil {
			return 0, nil, err
		}
		return do(c.Context(), &request)
	}
}

// verbatim is an answer that is written as it is.
type verbatim struct {
	contentType string
	body        []byte
}

// streamed is an answer that another handler writes.
type streamed struct{ http.Handler }

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// serve is the handler of a route: it reads the request, has it answered, writes the answer, counts and logs.
func (s *Server) serve(route route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.active.Add(1)
		defer s.active.Add(-1)
		buffer := buffers.Get().(*bytes.Buffer)
		c := call{Request: r, writer: w, room: reading{budget: s.budget, from: addressOf(r.RemoteAddr), size: r.ContentLength}}
		defer c.room.done()
		status, answer, err := s.answer(&c, route, buffer)
		if c.left() { // before a word is written: one that still reads must not read of a lease that it does not have
			err = s.takeBack(&c)
		}
		buffer.Reset()
		status, err = s.write(&c, buffer, status, answer, err)
		c.lighten()
		if c.given != nil && status != http.StatusOK {
			err = s.takeBack(&c)
		}
		if buffer.Cap() <= freeBytes {
			buffer.Reset()
			buffers.Put(buffer)
		}
		s.account(route, r, status, time.Since(start), err)
		if c.cut {
			panic(http.ErrAbortHandler) // by which net/http cuts the connection
		}
	}
}

// answer reads the body into the buffer and calls the endpoint. A panic becomes an error.
func (s *Server) answer(c *call, route route, buffer *bytes.Buffer) (status int, answer any, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = panicked(reason)
		}
	}()
	if err := s.checkOrigin(c.Request); err != nil {
		return 0, nil, err
	}
	place := placeOf(c.Context())
	place.arrives()
	if takesBody(route.method) {
		if c.body, err = s.readBody(c, buffer); err != nil {
			return 0, nil, err
		}
	}
	reserved, err := place.begin(route.first)
	if err != nil {
		return 0, nil, err
	}
	if reserved {
		c.mayTake(reservedTime)
	}
	if len(c.body) > freeBytes {
		if c.leave, err = s.heavy.enter(c.Context()); err != nil {
			return 0, nil, err
		}
	}
	return route.answer(c)
}

// write writes the answer, or the error as a problem, and returns the status for the books.
func (s *Server) write(c *call, buffer *bytes.Buffer, status int, answer any, err error) (int, error) {
	contentType, body := api.JSON, []byte(nil)
	switch a := answer.(type) {
	case streamed:
		recorder := &recorder{ResponseWriter: c.writer, status: http.StatusOK}
		a.ServeHTTP(recorder, c.Request)
		return recorder.status, nil
	case Backup:
		return s.stream(c, a)
	case verbatim:
		contentType, body = a.contentType, a.body
	default:
		if err == nil {
			err = api.Encode(buffer, answer)
		}
		if err != nil {
			contentType, status = api.ProblemJSON, s.problem(c.writer.Header(), buffer, err)
		}
		body = buffer.Bytes()
	}
	h := c.writer.Header()
	h["Content-Type"] = []string{contentType}
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.writer.WriteHeader(status)
	return booked(c.Request, status, err, c.send(body)), err
}

// send writes the body. Where something has to be taken back if it does not go out, it sees it out; otherwise net/http
// does that later, and says to nobody whether it could.
func (c *call) send(body []byte) error {
	_, err := c.writer.Write(body)
	if err != nil || c.given == nil {
		return err
	}
	if err = http.NewResponseController(c.writer).Flush(); errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

var noStore = []string{"no-store"} // answers hold tokens and the proofs of leases

// problem puts the error into the buffer and returns its status.
func (s *Server) problem(h http.Header, buffer *bytes.Buffer, err error) int {
	problem := api.NewProblem(err)
	if seconds := problem.RetryAfterSeconds(); seconds > 0 {
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	buffer.Reset()
	if api.Encode(buffer, problem) != nil { // a detail or a field that is not UTF-8
		buffer.Reset()
		api.Encode(buffer, api.NewProblem(tms.CodeOf(err)))
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
