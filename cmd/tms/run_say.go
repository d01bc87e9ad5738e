package main

import (
	"fmt"
	"io"
)

// herald says things to a person: who does not read them must hold up nothing that a lease depends on.
type herald struct{ *spool }

const sayMost = 64 << 10 // bytes

func newHerald(out io.Writer) *herald { return &herald{newSpool(out, sayMost, nil)} }

func (h *herald) say(format string, args ...any) { fmt.Fprintf(h, "tms: "+format+"\n", args...) }
