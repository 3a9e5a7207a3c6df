package network

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// namespaces are those of a container, opened.
type namespaces struct {
	net  *os.File
	user *os.File // nil: the container has none of its own
}

var errNotOwn = errors.New("it is this process's own: a container that shares it has a network already")

// openNamespaces opens those of PID 1, which the caller has not reaped.
func openNamespaces(pid int) (n namespaces, err error) {
	if n.net, err = openNamespace(pid, "net"); err != nil {
		return n, fmt.Errorf("open the container's network namespace: %w", err)
	}
	n.user, err = openNamespace(pid, "user")
	if errors.Is(err, errNotOwn) {
		return n, nil
	}
	if err != nil {
		n.close()
		return n, fmt.Errorf("open the container's user namespace: %w", err)
	}
	return n, nil
}

func openNamespace(pid int, kind string) (*os.File, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return nil, err
	}
	var theirs, ours unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &theirs)
	if err == nil {
		err = unix.Stat("/proc/thread-self/ns/"+kind, &ours)
	}
	if err == nil && theirs.Ino == ours.Ino {
		err = errNotOwn
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (n namespaces) close() {
	n.net.Close()
	if n.user != nil {
		n.user.Close()
	}
}
