package hostrun

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// container is a running PID 1 with the sockets to it.
type container struct {
	process *os.Process
	conns   map[uint32]*net.UnixConn // by port
	waited  chan struct{}            // closed when it has been reaped
	stderr  strings.Builder          // of PID 1 itself; to be read when it has been reaped
	state   string                   // how it ended, likewise
	killing sync.Once
	host    bool // it is no PID 1, but the parent of an app at tier host
}

// ports are PID 1's connections in the order of its descriptors, from 3 on
// (guest/init, container.go).
var ports = [...]uint32{proto.ControlPort, proto.StdinPort, proto.StdoutPort, proto.StderrPort}

// namespaces that PID 1 starts in. It makes that of cgroups itself, once it is in its
// cgroup.
func namespaces(p *pod.Pod) uintptr {
	if p.Verdict.Tier() == trust.TierHost {
		return unix.CLONE_NEWNS
	}
	flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if p.Network != pod.NetworkHost {
		flags |= unix.CLONE_NEWNET
	}
	return flags
}

// birth is where PID 1 starts.
type birth struct {
	group *cgroup
	user  *userNS // nil: in the host's
}

// startContainer starts PID 1 in new namespaces. It waits there for its start message,
// with nothing of the container set up yet.
func startContainer(b *bundle.Bundle, p *pod.Pod, mounts []*os.File, lease *label.Lease, born birth) (*container, error) {
	c, theirs, err := newContainer(p, lease)
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
	files := slices.Concat(theirs, mounts)
	if f := lease.File(); f != nil {
		files = append(files, f)
	}
	if err := c.start(b, namespaces(p), files, born); err != nil {
		c.closeConns()
		return nil, fmt.Errorf("start PID 1 of the container: %w", err)
	}
	return c, nil
}

// newContainer makes the sockets, which bear the container's label and of which theirs are
// PID 1's. The caller closes those, and stays on its thread.
func newContainer(p *pod.Pod, lease *label.Lease) (_ *container, theirs []*os.File, err error) {
	c := &container{conns: map[uint32]*net.UnixConn{}, waited: make(chan struct{}), host: p.Verdict.Tier() == trust.TierHost}
	err = lease.WithSockets(func() error {
		for _, port := range ports {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			theirs = append(theirs, os.NewFile(uintptr(pair[1]), "socket"))
			if c.conns[port], err = attach.UnixConn(pair[0]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		closeAll(theirs)
		c.closeConns()
		return nil, nil, fmt.Errorf("make a socket for PID 1: %w", err)
	}
	return c, theirs, nil
}

// start runs PID 1 from memory: an app that gets hold of /proc/1/exe cannot change the
// file that other containers start from.
func (c *container) start(b *bundle.Bundle, flags uintptr, files []*os.File, born birth) error {
	exe, err := b.Executable(bundle.Init)
	if err != nil {
		return err
	}
	defer exe.Close()
	// Above all descriptors that the process inherits.
	high, err := unix.FcntlInt(exe.Fd(), unix.F_DUPFD_CLOEXEC, initFD+len(files))
	if err != nil {
		return err
	}
	defer unix.Close(high)
	cmd := &exec.Cmd{
		Path:       fmt.Sprintf("/proc/self/fd/%d", high),
		Args:       []string{initName},
		Env:        []string{initTier + c.tier().String()},
		Dir:        "/",
		Stderr:     &c.stderr,
		ExtraFiles: files,
		SysProcAttr: &syscall.SysProcAttr{
			Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: flags,
		},
	}
	if c.host {
		// The end of its connections tells it, and it ends the others first.
		cmd.SysProcAttr.Pdeathsig = 0
	}
	born.user.apply(cmd.SysProcAttr)
	if err := born.group.start(cmd); err != nil {
		if born.user != nil {
			err = userNamespaceError(err)
		}
		return err
	}
	c.process = cmd.Process
	go func() {
		_ = cmd.Wait()
		c.state = cmd.ProcessState.String()
		close(c.waited)
	}()
	return nil
}

// What PID 1 is called, and the variable that tells it its tier (guest/init, container.go).
const (
	initName = "clearrun-init"
	initTier = "CLEARRUN_CONTAINER="
)

// initFD is the lowest descriptor that PID 1's executable may have here, but for the
// number of those that it inherits.
const initFD = 64

// accept hands out the connections that PID 1 uses, as if it had just made them.
func (c *container) accept(start *proto.Start) attach.Accept {
	wanted := []bool{true, start.Stdin, start.Stdout, start.Stderr}
	next := 0
	return func() (uint32, *net.UnixConn, error) {
		for next < len(ports) {
			port := ports[next]
			next++
			if wanted[next-1] {
				return port, c.conns[port], nil
			}
		}
		<-c.waited
		return 0, nil, attach.ErrGone
	}
}

func (c *container) tier() trust.Tier {
	if c.host {
		return trust.TierHost
	}
	return trust.TierNS
}

// killPatience bounds how long the parent of an app at tier host may take to end it.
const killPatience = 10 * time.Second

// kill ends PID 1, and with it all processes of its namespace, and reaps it.
func (c *container) kill() {
	c.killing.Do(func() {
		if c.host {
			c.closeConns()
			select {
			case <-c.waited:
			case <-time.After(killPatience):
			}
		}
		_ = c.process.Kill()
		<-c.waited
		c.closeConns()
	})
}

func (c *container) closeConns() {
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close()
		}
	}
}

// postMortem says why PID 1 ended without a report.
func (c *container) postMortem(starved bool) attach.Outcome {
	if starved {
		return attach.Outcome{Exit: &proto.Exit{Signal: uint8(unix.SIGKILL), OOMKilled: true}}
	}
	text := ""
	if s := strings.TrimSpace(c.stderr.String()); s != "" {
		text = ": " + attach.Printable(s)
	}
	return attach.Outcome{Err: errors.New("PID 1 of the container ended unexpectedly (" + c.state + ")" + text)}
}
