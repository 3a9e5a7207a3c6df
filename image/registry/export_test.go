package registry

import "time"

// SetFirstWait shortens the waits of tests in which everything goes wrong.
func (o *Options) SetFirstWait(d time.Duration) { o.firstWait = d }
