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
	header http.Header // of the answer
	body   []byte      // of the request; valid until the endpoint returns
}

// endpoint answers a call with a status and a body, or with an error.
type endpoint func(*call) (status int, answer any, err error)

// with is the endpoint that decodes a request and gives it to do. It is the one way from HTTP to the store.
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

const keptBuffer = 1 << 20 // bytes, for a batch of some thousands; a larger buffer is not kept for the next request

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// serve is the handler of a route: it reads the request, has it answered, writes the answer, counts and logs.
func (s *Server) serve(route route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.active.Add(1)
		defer s.active.Add(-1)
		buffer := buffers.Get().(*bytes.Buffer)
		c := call{Request: r, header: w.Header()}
		status, answer, err := s.answer(w, &c, route, buffer)
		buffer.Reset()
		status, err = s.write(w, r, buffer, status, answer, err)
		if buffer.Cap() <= keptBuffer {
			buffer.Reset()
			buffers.Put(buffer)
		}
		s.account(route, r, status, time.Since(start), err)
	}
}

// answer reads the body into the buffer and calls the endpoint. A panic becomes an error.
func (s *Server) answer(w http.ResponseWriter, c *call, route route, buffer *bytes.Buffer) (status int, answer any, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = panicked(reason)
		}
	}()
	if s.origins.Check(c.Request) != nil {
		return 0, nil, tms.ErrForbidden
	}
	if takesBody(route.method) {
		if c.body, err = s.readBody(w, c.Request, buffer); err != nil {
			return 0, nil, err
		}
	}
	return route.answer(c)
}

// write writes the answer, or the error as a problem, and returns the status for the books.
func (s *Server) write(w http.ResponseWriter, r *http.Request, buffer *bytes.Buffer, status int, answer any, err error) (int, error) {
	contentType, body := api.JSON, []byte(nil)
	switch a := answer.(type) {
	case streamed:
		recorder := &recorder{ResponseWriter: w, status: http.StatusOK}
		a.ServeHTTP(recorder, r)
		return recorder.status, nil
	case verbatim:
		contentType, body = a.contentType, a.body
	default:
		if err == nil {
			err = api.Encode(buffer, answer)
		}
		if err != nil {
			contentType, status = api.ProblemJSON, s.problem(w.Header(), buffer, err)
		}
		body = buffer.Bytes()
	}
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, broken := w.Write(body)
	return booked(r, status, err, broken), err
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
