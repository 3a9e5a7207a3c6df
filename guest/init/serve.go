package main

import (
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// server is the poll loop over everything that can happen while the app runs.
type server struct {
	control int
	app     *app
	// children is a signalfd: readable when a child has ended.
	children int

	status unix.WaitStatus
	ended  bool // status is set
	alone  bool // there are no children
	killed bool // the host asked for SIGKILL
	polled []unix.PollFd
}

// serve carries the streams and obeys the host until the app has ended and its
// output is with the host. It returns nil if the host closes the connection.
func serve(control int, a *app) (*proto.Exit, error) {
	children, err := childSignals()
	if err != nil {
		return nil, fail("serve", "make a signalfd", err)
	}
	s := &server{control: control, app: a, children: children, polled: make([]unix.PollFd, 0, 5)}
	s.reap() // what has ended before the signalfd was there
	for !s.finished() {
		if err := s.wait(); err != nil {
			return nil, fail("serve", "poll", err)
		}
		if gone := s.step(); gone {
			s.abandon()
			return nil, nil
		}
	}
	return s.exit(), nil
}

// childSignals blocks SIGCHLD and gives a descriptor to wait for it. It comes after
// the fork: the app must not inherit a blocked signal.
func childSignals() (int, error) {
	var set unix.Sigset_t
	set.Val[0] = 1 << (unix.SIGCHLD - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		return -1, err
	}
	return unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
}

// reap takes every child that has ended: the app, and the orphans that are PID 1's.
func (s *server) reap() {
	// Signals of one kind add up to one: the number read says nothing.
	var info [128]byte // struct signalfd_siginfo
	_, _ = unix.Read(s.children, info[:])
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || pid == 0: // ECHILD: the app and all the others are gone
			s.alone = err == unix.ECHILD
			if s.app.host && s.ended && !s.alone {
				killChildren() // the orphans of those that were killed before
			}
			return
		case pid == s.app.pid:
			s.appEnded(status)
		}
	}
}

// finished reports whether the app and its output have ended.
func (s *server) finished() bool {
	if !s.ended || s.app.host && !s.alone {
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

// pollTimeout is how long to wait for something to happen, in milliseconds: for ever, or
// in a process of several threads, until it is time to look for children again.
func pollTimeout() int {
	if oneThread {
		return -1
	}
	return 20
}

// wait blocks until something has happened.
func (s *server) wait() error {
	s.polled = append(s.polled[:0],
		unix.PollFd{Fd: int32(s.control), Events: unix.POLLIN},
		unix.PollFd{Fd: int32(s.children), Events: unix.POLLIN})
	for st := range s.streams {
		s.polled = append(s.polled, st.interest())
	}
	return retry(func() error {
		_, err := unix.Poll(s.polled, pollTimeout())
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
	if s.polled[1].Revents != 0 || !oneThread {
		s.reap()
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
	if s.app.host {
		killChildren()
	} else {
		_ = unix.Kill(-1, unix.SIGKILL) // ESRCH: nothing was left
	}
	if in := s.app.input; in != nil {
		in.end()
	}
}

// abandon ends the app when nobody waits for it any more. The end of PID 1 does that by
// itself.
func (s *server) abandon() {
	if !s.app.host {
		return
	}
	for killChildren() {
		_, err := unix.Wait4(-1, nil, 0, nil)
		if err != nil && err != unix.EINTR {
			return
		}
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
