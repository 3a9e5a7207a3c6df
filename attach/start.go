package attach

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/pod"
)

// StartMessage is what PID 1 is told to do in every tier. It masks nothing in /proc
// and /sys and leaves the size of the writable layer open.
func StartMessage(p *pod.Pod, o Streams) *proto.Start {
	app := p.App
	s := &proto.Start{
		Args: app.Exec, Env: app.Env, Dir: app.Dir,
		User: app.User, Group: app.Group, SupplementaryGIDs: app.SupplementaryGIDs,
		Hostname:        p.Hostname,
		TTY:             app.TTY,
		Stdin:           app.Stdin,
		Stdout:          true,
		Stderr:          !app.TTY,
		Capabilities:    proto.CapabilitySet(app.Capabilities),
		NoNewPrivileges: app.NoNewPrivileges,
		Umask:           defaultUmask,
		ReadOnlyRoot:    p.ReadOnlyRoot,
		WallClock:       time.Now().UnixNano(),
		Files: []proto.File{
			{Path: "/etc/hostname", Content: p.Hostname + "\n", Mode: 0o644},
			{Path: "/etc/hosts", Content: fmt.Sprintf("127.0.0.1\tlocalhost\n127.0.1.1\t%s\n", p.Hostname), Mode: 0o644},
		},
	}
	for _, r := range app.Rlimits {
		s.Rlimits = append(s.Rlimits, proto.Rlimit{Resource: r.Resource, Soft: r.Soft, Hard: r.Hard})
	}
	if app.TTY && o.WindowSize != nil {
		s.Rows, s.Cols = o.WindowSize()
	}
	return s
}

const defaultUmask = 0o022

// signalNumber is the number of s, 0 if it has none.
func signalNumber(s os.Signal) uint32 {
	if n, ok := s.(unix.Signal); ok {
		return uint32(n)
	}
	return 0
}
