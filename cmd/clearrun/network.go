package main

import "github.com/clearrun/clearrun/hostrun"

// examineNetwork says by what --network user works. Its lack keeps nothing else from
// running.
func examineNetwork() finding {
	x := finding{Name: "network", OK: true}
	path, err := hostrun.UserNetwork()
	if err != nil {
		x.Value = "no user-mode network (" + err.Error() + ")"
		return x
	}
	x.Value = "user-mode by " + path
	return x
}
