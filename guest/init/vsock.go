package main

import (
	"golang.org/x/sys/unix"
)

// dialFunc connects to a port of the host and returns a blocking, close-on-exec
// stream socket.
type dialFunc func(port uint32) (fd int, err error)

// dialHost dials over vsock. It is two system calls: github.com/mdlayher/vsock
// would bring net, the runtime's poller and an epoll instance (0.3 MB, and about ten
// calls per connection) for sockets that the poll loop handles raw.
func dialHost(port uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// The host answers at once, but on a busy one the guest may be held up for
	// longer than the two seconds that a connection has by default.
	patience := unix.Timeval{Sec: connectPatience}
	if err := unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience); err != nil {
		unix.Close(fd)
		return -1, err
	}
	err = retry(func() error {
		return unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: port})
	})
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connectPatience is how long a connection may take to come about, in seconds.
const connectPatience = 600

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// fdStream is a descriptor as io.Reader and io.Writer, for proto.
type fdStream int

func (s fdStream) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, errEOF
		default:
			return n, nil
		}
	}
}

func (s fdStream) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(s), p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
