package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	progressWidth = 30
	progressEvery = 100 * time.Millisecond
)

// progress is a line on a terminal that says how far something is. Nil, it says nothing.
type progress struct {
	out   io.Writer
	what  string
	shown time.Time
}

// progress returns a progress line, or nil where nobody would see it.
func (r *remote) progress(what string) *progress {
	if r.quiet || !smart(r.ErrOrStderr()) {
		return nil
	}
	return &progress{out: r.ErrOrStderr(), what: what}
}

// show says how much of the whole is done, a tenth of a second after the last time at the earliest. A whole of zero is
// unknown.
func (p *progress) show(done, whole int64, unit string) {
	if p == nil || time.Since(p.shown) < progressEvery {
		return
	}
	p.shown = time.Now()
	if whole == 0 {
		fmt.Fprintf(p.out, "\r\x1b[K%s  %d %s", p.what, done, unit)
		return
	}
	full := int(min(done, whole) * progressWidth / whole)
	bar := strings.Repeat("#", full) + strings.Repeat(".", progressWidth-full)
	fmt.Fprintf(p.out, "\r\x1b[K%s  [%s] %3d%%  %d %s", p.what, bar, min(done, whole)*100/whole, done, unit)
}

// end takes the line away.
func (p *progress) end() {
	if p != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
