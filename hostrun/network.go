package hostrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/network"
	"github.com/clearrun/clearrun/pod"
)

// UserNetwork is the path of the program that --network user starts, or an error with the
// remedy.
func UserNetwork() (string, error) { return network.UserProgram() }

// findNetwork undoes what killed runs have left of theirs, and looks for the network of p
// before anything is started.
func (o *Options) findNetwork(ctx context.Context, p *pod.Pod) (err error) {
	name := p.Network.CNI()
	if os.Geteuid() != 0 {
		if name != "" {
			return fmt.Errorf("network %s needs root, since its plugins change the host's network: use --network user, or run clearrun by sudo", p.Network)
		}
		return nil
	}
	for _, fault := range o.CNI.Sweep(ctx) {
		o.notice(fault.Error())
	}
	if name != "" {
		o.found, err = o.CNI.Find(name)
	}
	return err
}

func (o *Options) notice(line string) {
	if o.Notice != nil {
		o.Notice(attach.Printable(strings.ReplaceAll(line, "\n", "; ")))
	}
}

// connect gives the network namespace of PID 1, which waits for its start message, the
// network of p, and the message what the app needs to find others there. The caller
// closes it, on the same locked thread.
func (o *Options) connect(ctx context.Context, p *pod.Pod, pid int, start *proto.Start) (*network.Connection, error) {
	var c *network.Connection
	var err error
	var ports []network.Port
	for _, published := range p.Published {
		ports = append(ports, network.Port(published))
	}
	switch {
	case p.Network == pod.NetworkUser:
		c, err = network.User(ctx, pid, ports)
	case o.found != nil:
		c, err = o.found.Connect(ctx, pid, ports)
	default:
		return &network.Connection{Closer: io.NopCloser(nil)}, nil
	}
	if err != nil {
		return nil, err
	}
	conf, err := resolvConf(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	setFile(start, proto.File{Path: "/etc/resolv.conf", Content: conf, Mode: 0o644})
	setFile(start, proto.File{Path: "/etc/hosts", Content: c.Hosts(p.Hostname), Mode: 0o644})
	return c, nil
}

// resolvConf is that of the container. Where the host's names but a resolver of its own, that one may have left
// a list of the servers that it asks (systemd-resolved.service(8)).
func resolvConf(c *network.Connection) (conf string, err error) {
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		host, err := readHostFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		other := c.ResolvConf(host)
		if conf == "" || network.HasNameServer(other) {
			conf = other
		}
		if network.HasNameServer(conf) {
			break
		}
	}
	return conf, nil
}

// watch tells when the app's network ends by itself, until it is called off.
func (o *Options) watch(c *network.Connection) (callOff func()) {
	if c.Ended() == nil {
		return func() {}
	}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-over:
		case <-c.Ended():
		}
		select {
		case <-c.Ended(): // nobody has closed it yet
			line := attach.Printable(c.Loss().Error())
			o.notice(line)
			if o.NetworkLost != nil {
				o.NetworkLost(line)
			}
		default:
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// disconnect closes the app's network. What cannot be undone is told: the app has ended as it has.
func (o *Options) disconnect(c *network.Connection) {
	if err := c.Close(); err != nil {
		o.notice(err.Error())
	}
}
