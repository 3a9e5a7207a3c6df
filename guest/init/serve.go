package main

import (
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// server is the poll loop over everything that can happen while the app runs.
type server struct {
	control int
	app     *app
	// exited receives the app's wait status; wake, an eventfd, is signalled then.
	exited chan unix.WaitStatus
	wake   int

	status unix.WaitStatus
	ended  bool // status is set
	killed bool // the host asked for SIGKILL
	polled []unix.PollFd
}

// serve carries the streams and obeys the host until the app has ended and its
// output is with the host. It returns nil if the host closes the connection.
func serve(control int, a *app) (*proto.Exit, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fail("serve", "make an eventfd", err)
	}
	s := &server{
		control: control, app: a, wake: wake,
		exited: make(chan unix.WaitStatus, 1),
		polled: make([]unix.PollFd, 0, 5),
	}
	go s.reap()
	for !s.finished() {
		if err := s.wait(); err != nil {
			return nil, fail("serve", "poll", err)
		}
		if gone := s.step(); gone {
			return nil, nil
		}
	}
	return s.exit(), nil
}

// reap waits for every child: the app, and the orphans that become PID 1's. A
// blocking wait on a thread of its own cannot lose one, whichever thread SIGCHLD
// is delivered to.
func (s *server) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil: // ECHILD: the app and all the others are gone
			return
		case pid == s.app.pid:
			s.exited <- status
			one := [8]byte{1}
			_, _ = unix.Write(s.wake, one[:]) // an eventfd at 0 has room
		}
	}
}

// finished reports whether the app and its output have ended.
func (s *server) finished() bool {
	if !s.ended {
		return false
	}
	for _, out := range s.app.outputs {
		if !out.done {
			return false
		}
	}
	return true
}

// streams yields those that still run.
func (s *server) streams(yield func(*stream) bool) {
	if in := s.app.input; in != nil && !in.done && !yield(in) {
		return
	}
	for _, out := range s.app.outputs {
		if !out.done && !yield(out) {
			return
		}
	}
}

// wait blocks until something has happened.
func (s *server) wait() error {
	s.polled = append(s.polled[:0],
		unix.PollFd{Fd: int32(s.control), Events: unix.POLLIN},
		unix.PollFd{Fd: int32(s.wake), Events: unix.POLLIN})
	for st := range s.streams {
		s.polled = append(s.polled, st.interest())
	}
	if s.ended {
		s.polled[1].Fd = -1
	}
	return retry(func() error {
		_, err := unix.Poll(s.polled, -1)
		return err
	})
}

// step handles what wait has found; gone says that the host is.
func (s *server) step() (gone bool) {
	i := 2
	for st := range s.streams {
		if s.polled[i].Revents != 0 {
			st.advance()
		}
		i++
	}
	if s.polled[1].Revents != 0 {
		s.appEnded(<-s.exited)
	}
	if s.polled[0].Revents != 0 {
		return s.obey()
	}
	return false
}

// appEnded ends what the app leaves behind, as the end of PID 1 does in a
// container. With no process left to hold a pipe or the terminal, the outputs
// come to their ends.
func (s *server) appEnded(status unix.WaitStatus) {
	s.status, s.ended = status, true
	_ = unix.Kill(-1, unix.SIGKILL) // ESRCH: nothing was left
	if in := s.app.input; in != nil {
		in.end()
	}
}

// obey reads one message of the host's.
func (s *server) obey() (gone bool) {
	m, err := proto.Read(fdStream(s.control))
	if err != nil {
		return true
	}
	switch m := m.(type) {
	case *proto.Signal:
		s.killed = s.killed || unix.Signal(m.Signal) == unix.SIGKILL
		s.app.signal(m)
	case *proto.Resize:
		s.app.resize(m)
	}
	return false
}

// exit says how the app ended.
func (s *server) exit() *proto.Exit {
	if !s.status.Signaled() {
		return &proto.Exit{Code: uint8(s.status.ExitStatus())}
	}
	e := &proto.Exit{Signal: uint8(s.status.Signal())}
	if e.Signal == uint8(unix.SIGKILL) && !s.killed {
		// The counter is the whole VM's: there is nothing else in it.
		stat, err := readFile("/proc/vmstat")
		e.OOMKilled = err == nil && oomKills(stat)
	}
	return e
}
