package main

import (
	"context"
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
