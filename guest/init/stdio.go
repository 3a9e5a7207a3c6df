package main

import (
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// stdio holds the host's ends of the app's standard streams; -1 for one that
// nobody asked for.
type stdio struct {
	stdin, stdout, stderr int
}

// dialStdio begins to connect the streams that Start asks for, so that PID 1 can go
// on while the host answers, and nobody else comes first.
func dialStdio(dial dialFunc, start *proto.Start) (stdio, error) {
	s := stdio{-1, -1, -1}
	for _, stream := range []struct {
		wanted bool
		port   uint32
		fd     *int
		name   string
	}{
		{start.Stdin, proto.StdinPort, &s.stdin, "stdin"},
		{start.Stdout, proto.StdoutPort, &s.stdout, "stdout"},
		{start.Stderr, proto.StderrPort, &s.stderr, "stderr"},
	} {
		if !stream.wanted {
			continue
		}
		fd, err := dial(stream.port)
		if err != nil {
			return s, fail("stdio", "dial the host for "+stream.name, err)
		}
		*stream.fd = fd
	}
	return s, nil
}

// await returns when the streams are connected.
func (s *stdio) await() error {
	for _, fd := range []int{s.stdin, s.stdout, s.stderr} {
		if fd < 0 {
			continue
		}
		if err := awaitConnected(fd); err != nil {
			return fail("stdio", "connect the streams to the host", err)
		}
	}
	return nil
}

// stream carries bytes one way, from src to dst, as far as both allow without
// blocking. The poll loop asks it what to wait for and tells it to advance.
type stream struct {
	src, dst int
	// buf and pending serve a terminal, which splice(2) does not join with a
	// socket. With a pipe at one end buf is nil and the pipe is the buffer: the
	// bytes never come into this process.
	buf, pending []byte
	// full says that dst took no more: wait for dst, not for src.
	full   bool
	toHost bool // dst is the host's end; otherwise src is
	done   bool
}

// spliceSize is asked of one splice call; the pipe's capacity (64 KiB) is the bound.
const spliceSize = 1 << 20

// ttyBufferSize suits the kernel's terminal buffers, which yield 4 KiB at a time.
const ttyBufferSize = 16 << 10

// interest is the event that lets the stream go on.
func (s *stream) interest() unix.PollFd {
	if s.full {
		return unix.PollFd{Fd: int32(s.dst), Events: unix.POLLOUT}
	}
	return unix.PollFd{Fd: int32(s.src), Events: unix.POLLIN}
}

// advance moves what can be moved in one go. An error of either end ends the
// stream: the app sees a closed stdin or EPIPE, the host sees the end.
func (s *stream) advance() {
	if s.buf != nil {
		s.advanceBuffered()
		return
	}
	n, err := unix.Splice(s.src, nil, s.dst, nil, spliceSize, unix.SPLICE_F_NONBLOCK)
	switch {
	case err == unix.EAGAIN:
		// The end that was waited for is ready, so it is the other one.
		s.full = !s.full
	case err == unix.EINTR:
	case err != nil || n == 0:
		s.end()
	}
}

// advanceBuffered is advance by way of buf.
func (s *stream) advanceBuffered() {
	if len(s.pending) == 0 {
		n, err := unix.Read(s.src, s.buf)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			return
		case err != nil || n == 0: // EIO: the last process has closed the terminal
			s.end()
			return
		}
		s.pending = s.buf[:n]
	}
	n, err := unix.Write(s.dst, s.pending)
	switch {
	case err == unix.EAGAIN:
		s.full = true
		return
	case err == unix.EINTR:
		return
	case err != nil:
		s.end()
		return
	}
	s.pending = s.pending[n:]
	s.full = len(s.pending) > 0
}

// end closes the stream. The socket is shut down, so that the host sees the end after
// the last byte, and stays open until the VM ends. The pipe is closed: an app that
// goes on writing shall see EPIPE, one that reads the end. A terminal stays as it
// is, since the other direction may go on.
func (s *stream) end() {
	if s.done {
		return
	}
	s.done = true
	host, own, how := s.src, s.dst, unix.SHUT_RDWR
	if s.toHost {
		host, own, how = s.dst, s.src, unix.SHUT_WR
	}
	_ = unix.Shutdown(host, how) // the host may be gone already
	if s.buf == nil {
		unix.Close(own)
	}
}
