package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	tms "github.com/manankarani/token-manager"
)

// The requests of which a server writes a line whatever its log's level: see Config.LogRequests.
const (
	LogNone   = "off"
	LogErrors = "errors" // those that are answered with 400 or more, and whose clients gave up
	LogAll    = "all"
)

// headerTrace names a request for those who follow it from one program to the next. Caller and server mean by it the
// request that was sent, and not what it asks for: a repeat has another one, though its request_id is the same.
const headerTrace = "X-Request-Id"

const maxTrace = 128 // bytes

// traceOf returns the name that the caller gives the request; empty: none, or none that could stand in a log.
func traceOf(h http.Header) string {
	given := h.Get(headerTrace)
	if len(given) > maxTrace {
		return ""
	}
	for i := range len(given) {
		if given[i] <= ' ' || given[i] > '~' {
			return ""
		}
	}
	return given
}

// trace returns the name of the request. Where the caller gave none it is drawn when something is written that others
// may look for: a line of the log or of the audit, or a problem. The answer has it, too.
func (c *call) trace() string {
	if c.traced == "" {
		c.named(tms.NewValue())
	}
	return c.traced
}

func (c *call) named(trace string) {
	c.traced = trace
	c.writer.Header()[headerTrace] = []string{trace}
}

// startTrace begins the books of a request.
func (s *Server) startTrace(c *call) {
	if given := traceOf(c.Header); given != "" {
		c.named(given)
	} else if s.config.LogRequests == LogAll {
		c.trace()
	}
}

// account counts and logs a request that has been answered. Of the request it names the route and the method only: the
// path of an unknown route, the query and the body may hold tokens.
func (s *Server) account(route route, c *call, status int, elapsed time.Duration, err error) {
	method := knownMethod(c.Method)
	s.config.Observe(route.pattern, method, status, elapsed)
	level := s.levelOf(status)
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", method),
		slog.String("route", route.pattern),
		slog.Int("status", status),
		slog.Float64("elapsed_ms", float64(elapsed.Microseconds())/1000),
	}
	if level >= slog.LevelInfo {
		attrs = append(attrs, slog.String("trace", c.trace()), slog.String("address", c.address.String()))
		attrs = append(attrs, s.keyOf(c)...)
	} else if c.traced != "" {
		attrs = append(attrs, slog.String("trace", c.traced))
	}
	s.log.LogAttrs(context.Background(), level, "request", append(attrs, why(err)...)...)
}

// levelOf returns at which level a request is logged.
func (s *Server) levelOf(status int) slog.Level {
	asked := s.config.LogRequests == LogAll || s.config.LogRequests == LogErrors && status >= http.StatusBadRequest
	switch {
	case status == http.StatusInternalServerError:
		return slog.LevelError
	case asked:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// keyOf says with which key the caller came, where it is known.
func (s *Server) keyOf(c *call) []slog.Attr {
	if s.config.Access == nil {
		return nil
	}
	caller, err := s.config.Access.Who(c.Context())
	if err != nil {
		return nil
	}
	return []slog.Attr{slog.String("key", caller.Key)}
}

// why says what an operator may know of an error: the code and the field of a refusal, whose detail may quote the
// request; all of a failure.
func why(err error) []slog.Attr {
	var panicked *panicError
	var refusal *tms.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &panicked):
		return []slog.Attr{slog.String("error", panicked.Error()), slog.String("stack", string(panicked.stack))}
	case tms.CodeOf(err) == "":
		return []slog.Attr{slog.String("error", err.Error())}
	case errors.As(err, &refusal) && (refusal.Code == tms.ErrStoreUnavailable || refusal.Code == tms.ErrStoreReset):
		return []slog.Attr{slog.String("code", string(refusal.Code)), slog.String("error", refusal.Detail)}
	}
	return []slog.Attr{slog.String("code", string(tms.CodeOf(err)))}
}
