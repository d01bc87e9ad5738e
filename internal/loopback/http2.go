package loopback

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// The kinds of frames of HTTP/2, as RFC 9113 numbers them, of which a test needs to know.
const (
	FrameData     = 0
	FrameHeaders  = 1
	FrameReset    = 3
	FrameSettings = 4
	FrameGoAway   = 7
)

const (
	flagAck, flagEndStream, flagEndHeaders = 1, 1, 4

	cancelled = 8 // the code of a reset
)

// HTTP2 speaks HTTP/2 over a connection, one frame at a time, as no well-kept client does. It is safe for one that
// writes and one that reads.
type HTTP2 struct {
	conn net.Conn
	mu   sync.Mutex // orders what is written
	next uint32
}

// NewHTTP2 greets the server at the other end.
func NewHTTP2(conn net.Conn) (*HTTP2, error) {
	h := &HTTP2{conn: conn, next: 1}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		return nil, err
	}
	return h, h.write(FrameSettings, 0, 0, nil)
}

func (h *HTTP2) write(kind, flags byte, stream uint32, payload []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	frame := make([]byte, 9, 9+len(payload))
	frame[0], frame[1], frame[2] = byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))
	frame[3], frame[4] = kind, flags
	binary.BigEndian.PutUint32(frame[5:], stream)
	_, err := h.conn.Write(append(frame, payload...))
	return err
}

// Ask sends the header of a request, with a body of JSON to come unless whole is set, and returns its stream.
func (h *HTTP2) Ask(method, path string, whole bool, header ...string) (stream uint32, err error) {
	fields := append([]string{":method", method, ":scheme", "https", ":authority", "localhost", ":path", path,
		"content-type", "application/json"}, header...)
	var block []byte
	for i, text := range fields {
		if i%2 == 0 {
			block = append(block, 0) // a name and a value as they are, to be kept in no table
		}
		block = append(appendLength(block, len(text)), text...)
	}
	flags := byte(flagEndHeaders)
	if whole {
		flags |= flagEndStream
	}
	stream = h.next
	h.next += 2
	return stream, h.write(FrameHeaders, flags, stream, block)
}

// appendLength appends the length of a text in HPACK, an integer that leaves one bit of its first byte out.
func appendLength(block []byte, n int) []byte {
	if n < 127 {
		return append(block, byte(n))
	}
	return binary.AppendUvarint(append(block, 127), uint64(n-127))
}

// Reset gives a request up.
func (h *HTTP2) Reset(stream uint32) error {
	return h.write(FrameReset, 0, stream, binary.BigEndian.AppendUint32(nil, cancelled))
}

// Read returns the next frame. It agrees to settings.
func (h *HTTP2) Read() (kind byte, stream uint32, payload []byte, err error) {
	var head [9]byte
	if _, err := io.ReadFull(h.conn, head[:]); err != nil {
		return 0, 0, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(h.conn, payload); err != nil {
		return 0, 0, nil, err
	}
	if kind = head[3]; kind == FrameSettings && head[4]&flagAck == 0 {
		err = h.write(FrameSettings, flagAck, 0, nil)
	}
	return kind, binary.BigEndian.Uint32(head[5:]), payload, err
}
