package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// handedDescriptor gets a descriptor of a directory of the host's from its socket, and
// says whether a file below it can be opened.
func handedDescriptor() error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "/handed/socket", Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("%d messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	fd, err := unix.Openat(fds[0], "secret", unix.O_RDONLY, 0)
	return tell(fd, err, unix.EACCES)
}

// abstractSocket says whether a socket of the host's network can be reached that has a
// name and no file.
func abstractSocket() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return tell(fd, unix.Connect(fd, &unix.SockaddrUnix{Name: "@clearrun-escape-test"}), unix.EPERM)
}

// tell prints how an attempt went.
func tell(fd int, err error, refusal unix.Errno) error {
	switch {
	case err == nil:
		fmt.Println("reached")
		return unix.Close(fd)
	case errors.Is(err, refusal):
		fmt.Println("refused")
		return nil
	}
	return os.NewSyscallError("attempt", err)
}
