package main

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// platform is what VM and container provide, each in its own way.
type platform struct {
	dial dialFunc
	// prepare, if set, is called when the host has said what to run, before anything
	// is done about it.
	prepare func(*proto.Start) (kernelFiles, error)
	// mountImage mounts the EROFS image of the app's root on imageDir.
	mountImage func() error
	watch      stopwatch
	// confine, if set, is called when the app runs.
	confine func(*proto.Start) error
	// shared says that the kernel is the host's, and not the app's alone.
	shared bool
	// host says that the app is to see all of the host but its files (tier host).
	host bool
	// kernelFiles are what prepare has made.
	kernelFiles kernelFiles
}

// boot runs the app from the first mount to the host's last word. It returns when
// nothing is left but to power off, and never panics: a panic of PID 1 is one of the
// kernel. It says whether the host has heard how it ended.
func boot(p platform) (heard bool) {
	p.watch.mark(stageInit)
	control, err := p.dialControl()
	if err != nil {
		print("clearrun init: dial the host: ", err.Error(), "\n")
		return false
	}
	p.watch.mark(stageConnected)
	last := guarded(func() proto.Message { return p.run(control) })
	if last == nil {
		return false // the host is gone: nobody to tell
	}
	if err := proto.Write(fdStream(control), last); err != nil {
		return false
	}
	awaitClose(control)
	return true
}

// dialControl connects to the host's control port.
func (p platform) dialControl() (int, error) {
	fd, err := p.dial(proto.ControlPort)
	if err == nil {
		err = awaitConnected(fd)
	}
	if err == nil {
		err = setBlocking(fd)
	}
	return fd, err
}

// guarded turns a panic into a report.
func guarded(run func() proto.Message) (last proto.Message) {
	defer func() {
		if cause := recover(); cause != nil {
			err := errors.New("panic")
			switch cause := cause.(type) {
			case error:
				err = cause
			case string:
				err = errors.New(cause)
			}
			last = report(err)
		}
	}()
	return run()
}

// run starts the app and serves it to its end. It returns the last message for the
// host, nil if the host has closed the control connection.
func (p platform) run(control int) proto.Message {
	start, err := receiveStart(control)
	if err != nil {
		return report(err)
	}
	p.watch.mark(stageStart)
	a, err := p.launch(start)
	if err != nil {
		return report(err)
	}
	if p.confine != nil {
		if err := p.confine(start); err != nil {
			return report(err)
		}
	}
	p.watch.mark(stageStarted)
	err = proto.Write(fdStream(control), &proto.Started{PID: uint32(a.pid)})
	if err != nil {
		return nil
	}
	exit, err := serve(control, a)
	p.watch.mark(stageExited)
	switch {
	case err != nil:
		return report(err)
	case exit == nil:
		return nil
	}
	return exit
}

// receiveStart reads the host's first message.
func receiveStart(control int) (*proto.Start, error) {
	m, err := proto.Read(fdStream(control))
	if err != nil {
		return nil, fail("start", "read the start message", err)
	}
	start, ok := m.(*proto.Start)
	switch {
	case !ok:
		err = errors.New("another message came first")
	case len(start.Args) == 0 || start.Args[0] == "":
		err = errors.New("no command")
	case start.TTY && start.Stderr:
		err = errors.New("a terminal has no separate stderr")
	case start.TTY && !start.Stdout:
		err = errors.New("nobody reads the terminal")
	case start.Ambient&^start.Capabilities != 0:
		err = errors.New("ambient capabilities outside of the bounding set")
	}
	return start, fail("start", "check the start message", err)
}

// launch makes the machine what Start describes and executes the app in it.
func (p platform) launch(start *proto.Start) (*app, error) {
	if p.prepare != nil {
		var err error
		if p.kernelFiles, err = p.prepare(start); err != nil {
			return nil, err
		}
	}
	io, err := dialStdio(p.dial, start)
	if err != nil {
		return nil, err
	}
	if !p.host {
		if err := setUpSystem(start); err != nil {
			return nil, err
		}
	}
	if err := enterRoot(p.mountImage, start); err != nil {
		return nil, err
	}
	p.watch.mark(stageRoot)
	if err := p.populateRoot(start); err != nil {
		return nil, err
	}
	p.watch.mark(stageMounted)
	if err := io.await(); err != nil {
		return nil, err
	}
	return p.startApp(start, io)
}

// awaitClose returns when the host has read everything and closed the connection.
func awaitClose(control int) {
	var scratch [64]byte
	for {
		if _, err := fdStream(control).Read(scratch[:]); err != nil {
			return
		}
	}
}

// setUpSystem sets what is not a file: clock, host name, loopback.
func setUpSystem(start *proto.Start) error {
	// Before any file is made, so that time stamps are right.
	if start.WallClock != 0 {
		now := unix.NsecToTimespec(start.WallClock)
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
			return fail("system", "set the clock", err)
		}
	}
	if err := unix.Sethostname([]byte(hostname(start))); err != nil {
		return fail("system", "set the host name", err)
	}
	if start.HostNetwork {
		return nil
	}
	return fail("system", "bring up lo", loopbackUp())
}

// hostname is what the guest is called.
func hostname(start *proto.Start) string {
	if start.Hostname == "" {
		return "localhost"
	}
	return start.Hostname
}

// loopbackUp sets the interface up; the kernel then gives it 127.0.0.1 by itself.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
