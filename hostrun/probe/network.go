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

// serve answers the first who sends something. The answer is to have arrived when it
// returns: with the app goes its network.
func serve(network, address, say string) error {
	if network == "udp" {
		c, err := net.ListenPacket(network, address)
		if err != nil {
			return err
		}
		defer c.Close()
		_, from, err := c.ReadFrom(make([]byte, 1500))
		if err == nil {
			_, err = c.WriteTo([]byte(say), from)
			time.Sleep(time.Second)
		}
		return err
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return err
	}
	if _, err = io.WriteString(c, say); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, c) // to the other's end
	return nil
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
