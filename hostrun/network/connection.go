package network

import (
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
)

// Connection is what a container's network namespace is connected by, and what the container
// needs to know of it.
type Connection struct {
	io.Closer
	// Resolver is the address of a name server for the container beside the host's. Empty: there is none.
	Resolver string
	// Resolvers are name servers in the place of the host's, and Search and ResolverOptions what
	// goes for names besides (resolv.conf(5)).
	Resolvers, Search, ResolverOptions []string
	// Addresses are the container's own. None: they are nobody's business but the network's.
	Addresses []netip.Addr

	process *process // that carries its traffic; nil: there is none
}

// Ended is closed when the process that carries the traffic has ended. nil: there is none.
func (c *Connection) Ended() <-chan struct{} {
	if c.process == nil {
		return nil
	}
	return c.process.ended
}

// Loss says what became of the network, once that process has Ended by itself.
func (c *Connection) Loss() error {
	return fmt.Errorf("network user: %s ended, and with it the app's network (%w): start the app anew", filepath.Base(c.process.cmd.Path), c.process.failure())
}
