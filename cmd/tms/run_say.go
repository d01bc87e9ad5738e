package main

import (
	"fmt"
	"io"
	"time"
)

const lastWords = 500 * time.Millisecond // for what was said last to be written

// herald says things from a goroutine of its own: who does not read them must hold up nothing that a lease depends on.
type herald struct {
	out   io.Writer
	words chan string
	quit  chan struct{}
	done  chan struct{}
}

// newHerald returns one that keeps so many things in mind which nobody has read yet. What is more is not said.
func newHerald(out io.Writer, most int) *herald {
	h := &herald{out: out, words: make(chan string, most), quit: make(chan struct{}), done: make(chan struct{})}
	go h.run()
	return h
}

func (h *herald) run() {
	defer close(h.done)
	for {
		select {
		case text := <-h.words:
			io.WriteString(h.out, text)
		case <-h.quit:
			h.rest()
			return
		}
	}
}

func (h *herald) rest() {
	for {
		select {
		case text := <-h.words:
			io.WriteString(h.out, text)
		default:
			return
		}
	}
}

func (h *herald) say(format string, args ...any) {
	select {
	case h.words <- fmt.Sprintf("tms: "+format+"\n", args...):
	default:
	}
}

// end waits a moment until all is written.
func (h *herald) end() {
	close(h.quit)
	select {
	case <-h.done:
	case <-time.After(lastWords):
	}
}
