package main

import (
	"golang.org/x/sys/unix"
)

// dialFunc begins to connect to a port of the host and returns a non-blocking,
// close-on-exec stream socket; awaitConnected waits for it.
type dialFunc func(port uint32) (fd int, err error)

// dialHost dials over vsock. It is three system calls: github.com/mdlayher/vsock
// would bring net, the runtime's poller and an epoll instance (0.3 MB, and about ten
// calls per connection) for sockets that the poll loop handles raw.
func dialHost(port uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	// The host answers at once, but on a busy one the guest may be held up for
	// longer than the two seconds that a connection has by default.
	patience := unix.Timeval{Sec: connectPatience}
	err = unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: port})
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// awaitConnected returns when a socket is connected. A blocking connect is no
// alternative: a signal, such as one of Go's runtime, makes it give up a connection
// that the host has taken already, and the host takes one per port.
func awaitConnected(fd int) error {
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	err := retry(func() error {
		_, err := unix.Poll(polled, -1)
		return err
	})
	if err != nil || polled[0].Revents&unix.POLLERR == 0 {
		return err
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}

// fionbio is FIONBIO of asm-generic/ioctls.h.
const fionbio = 0x5421

// setBlocking is one ioctl where fcntl would be two calls.
func setBlocking(fd int) error {
	return unix.IoctlSetPointerInt(fd, fionbio, 0)
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
