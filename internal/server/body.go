package server

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func takesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodDelete
}

// readBody reads the whole body into the buffer. It refuses one that is too large or not JSON.
func (s *Server) readBody(c *call, buffer *bytes.Buffer) ([]byte, error) {
	if c.ContentLength > s.config.MaxBodyBytes {
		c.writer.Header().Set("Connection", "close") // the rest will not be read
		return nil, s.tooLarge()
	}
	body := c.Body
	if c.ContentLength < 0 {
		body = http.MaxBytesReader(c.writer, body, s.config.MaxBodyBytes)
	}
	if err := c.room.fill(buffer, body); err != nil {
		c.writer.Header().Set("Connection", "close") // the rest will not be read
		return nil, s.unreadable(err)
	}
	if buffer.Len() == 0 {
		return nil, nil
	}
	return buffer.Bytes(), checkMedia(c.Header)
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
		return tms.Refuse(tms.ErrUnsupportedMedia, "send the body as JSON with Content-Type: application/json (curl --json does)")
	}
	return nil
}

func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	charset, ok := params["charset"]
	return err == nil && media == api.JSON && (!ok || strings.EqualFold(charset, "utf-8"))
}
