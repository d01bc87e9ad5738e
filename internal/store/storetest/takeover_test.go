package storetest

import "testing"

func TestTakeoverOfTheModel(t *testing.T)      { RunTakeover(t, openModel) }
func TestQueueTakeoverOfTheModel(t *testing.T) { RunQueueTakeover(t, openModel) }
