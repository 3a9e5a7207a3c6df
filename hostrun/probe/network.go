package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds the wait for an answer.
const patience = 10 * time.Second

// get prints what a server says to whoever connects to it.
func get(address string) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = io.Copy(os.Stdout, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// frames tries to send what the kernel would not: frames and packets with addresses of
// the app's own choice.
func frames() error {
	for _, s := range []struct {
		what             string
		domain, protocol int
	}{
		{"a socket for frames", unix.AF_PACKET, 0},
		{"a socket for packets", unix.AF_INET, unix.IPPROTO_RAW},
	} {
		fd, err := unix.Socket(s.domain, unix.SOCK_RAW, s.protocol)
		if err == nil {
			unix.Close(fd)
		}
		if err := refused(s.what, err); err != nil {
			return err
		}
	}
	return nil
}
