package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestARequestUnderWayHasAMomentAfterAnInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		late, stop := outlasting(ctx)
		defer stop()
		interrupt()
		time.Sleep(answerTime - time.Millisecond)
		if synctest.Wait(); late.Err() != nil {
			t.Error("it was cut off at once")
		}
		time.Sleep(time.Millisecond)
		if synctest.Wait(); late.Err() == nil {
			t.Error("it goes on for ever")
		}
	})
}

// unheard is a context that has ended, where something else was heard first.
type unheard struct{ context.Context }

func (unheard) Done() <-chan struct{} { return nil }
func (unheard) Err() error            { return context.Canceled }

// The end of the reading, which an interrupt brings about, is not taken for the end of the input.
func TestAnInterruptedImportIsNeverDone(t *testing.T) {
	i := &importing{in: strings.NewReader("")}
	if err := i.takeAll(unheard{t.Context()}, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("the import ended with %v", err)
	}
}
