package client

import "time"

// WithNaps has a client take from slept for how long its machine was suspended.
func WithNaps(slept func() time.Duration) Option { return func(o *options) { o.clock.slept = slept } }

// Slept returns for how long this machine was suspended.
var Slept = machine.slept
