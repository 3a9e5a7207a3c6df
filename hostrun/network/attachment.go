package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// undoPatience bounds how long it may take to undo a network, and sweepPatience all those that were
// left over: a start must not wait for plugins that hang.
const (
	undoPatience  = 20 * time.Second
	sweepPatience = 20 * time.Second
)

func (a *attachment) config() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(a.record.Plugins, filepath.Join(a.cni.StateDir, resultsDir), &plugins{lock: a.file})
}

func (a *attachment) runtime() *libcni.RuntimeConf {
	rt := &libcni.RuntimeConf{ContainerID: a.record.Container, IfName: a.record.Interface, CapabilityArgs: map[string]any{}}
	if pinned(a.record.NetNS) {
		rt.NetNS = a.record.NetNS
	}
	for name, value := range a.record.Arguments {
		rt.CapabilityArgs[name] = value
	}
	return rt
}

// within bounds what plugins may take, with an error that says so.
func within(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, patience, fmt.Errorf("it was not done in %v", patience))
}

// add calls the plugins to connect the namespace.
func (a *attachment) add(ctx context.Context) (*Connection, error) {
	ctx, cancel := within(ctx, a.cni.Patience)
	defer cancel()
	given, err := a.config().AddNetworkList(ctx, a.record.list, a.runtime())
	if err != nil {
		return nil, unwrapPlugin(err)
	}
	c, err := connection(given)
	if err != nil {
		return nil, err
	}
	c.Closer = a
	return c, nil
}

// connection is what the last plugin says of the container (CNI spec, Section 5, Add Success).
func connection(given types.Result) (*Connection, error) {
	r, err := types100.NewResultFromResult(given)
	if err != nil {
		return nil, err
	}
	c := &Connection{Resolvers: r.DNS.Nameservers, Search: slices.Clone(r.DNS.Search), ResolverOptions: r.DNS.Options}
	if len(c.Search) == 0 && r.DNS.Domain != "" {
		c.Search = []string{r.DNS.Domain}
	}
	c.Addresses = addresses(r)
	return c, nil
}

// unwrapPlugin leaves out libcni's words around an error of a plugin, which names itself.
func unwrapPlugin(err error) error {
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "plugin type=") {
		return inner
	}
	return err
}

// addresses are the container's own: those of the interfaces in its namespace.
func addresses(r *types100.Result) (list []netip.Addr) {
	for _, ip := range r.IPs {
		if i := ip.Interface; i != nil && (*i < 0 || *i >= len(r.Interfaces) || r.Interfaces[*i] == nil || r.Interfaces[*i].Sandbox == "") {
			continue
		}
		if addr, ok := netip.AddrFromSlice(ip.Address.IP); ok {
			list = append(list, addr.Unmap())
		}
	}
	return list
}

// Close has the plugins undo what they did. With an error the record stays, for the next start.
func (a *attachment) Close() error {
	ctx, cancel := within(context.Background(), undoPatience)
	defer cancel()
	return a.undo(ctx)
}

func (a *attachment) undo(ctx context.Context) error {
	if err := a.config().DelNetworkList(ctx, a.record.list, a.runtime()); err != nil {
		a.release()
		return fmt.Errorf("undo network cni:%s: %w: the next start tries again, by %s", a.record.list.Name, unwrapPlugin(err), a.path(recordSuffix))
	}
	a.forget()
	return nil
}

// Sweep undoes the networks of runs that were killed, and gives what it could not.
func (c CNI) Sweep(ctx context.Context) (faults []error) {
	claimed, faults := c.withDefaults().leftOver()
	ctx, cancel := within(ctx, sweepPatience)
	defer cancel()
	for _, a := range claimed {
		if err := a.undo(ctx); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}
