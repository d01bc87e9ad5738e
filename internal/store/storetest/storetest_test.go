package storetest

import (
	"testing"

	tms "github.com/manankarani/token-manager"
)

func openModel(_ testing.TB, clock *Clock) []tms.Sweeper { return []tms.Sweeper{NewModel(clock)} }

func TestModel(t *testing.T) { Run(t, openModel) }

func TestModelQueue(t *testing.T) { RunQueue(t, openModel) }
