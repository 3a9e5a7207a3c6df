package network

import (
	"io"
	"net/netip"
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
}
