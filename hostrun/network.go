package hostrun

import (
	"context"
	"io"
	"os"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/network"
	"github.com/clearrun/clearrun/pod"
)

// UserNetwork is the path of the program that --network user starts, or an error with the
// remedy.
func UserNetwork() (string, error) { return network.UserProgram() }

// connect gives the network namespace of PID 1, which waits for its start message, the
// network of p, and the message what the app needs to find others there. The caller
// closes it, on the same locked thread.
func connect(ctx context.Context, p *pod.Pod, pid int, start *proto.Start) (io.Closer, error) {
	if p.Network != pod.NetworkUser {
		return io.NopCloser(nil), nil
	}
	c, err := network.User(ctx, pid)
	if err != nil {
		return nil, err
	}
	host, err := readHostFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		_ = c.Close()
		return nil, err
	}
	setFile(start, proto.File{Path: "/etc/resolv.conf", Content: network.ResolvConf(host, c.Resolver), Mode: 0o644})
	setFile(start, proto.File{Path: "/etc/hosts", Content: network.Hosts(p.Hostname, ""), Mode: 0o644})
	return c, nil
}
