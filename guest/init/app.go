package main

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// app is the running app as PID 1 sees it.
type app struct {
	pid   int
	pidfd int // signals reach the process that was started, and no later namesake
	// master is the app's terminal, or -1.
	master int
	// host says that this process is not PID 1, but one of the host's.
	host bool
	// input may be nil; outputs hold stdout and stderr, or the terminal's output.
	input   *stream
	outputs []*stream
}

// startApp executes the command of start with its streams connected to io.
func (p platform) startApp(start *proto.Start, io stdio) (*app, error) {
	id, err := imageAccounts().identify(start.User, start.Group)
	if err != nil {
		return nil, err
	}
	if len(start.SupplementaryGIDs) > 0 {
		id.groups = append(id.groups, start.SupplementaryGIDs...)
	}
	if start.IDs > 0 {
		if err := id.fit(start.IDs); err != nil {
			return nil, err
		}
	}
	a := &app{pidfd: -1, master: -1, host: p.host}
	var files []uintptr
	if start.TTY {
		files, err = a.connectTerminal(start, io, id)
	} else {
		files, err = a.connectPipes(io, id, start.ProcessLabel)
	}
	if err != nil {
		return nil, err
	}
	env := appEnv(start, id.home)
	path, err := lookPath(start.Args[0], env)
	if err != nil {
		return nil, err
	}
	if err := labelNext("exec", start.ProcessLabel); err != nil {
		return nil, err
	}
	restore, err := p.restrict(start)
	if err != nil {
		return nil, err
	}
	ignoreSignals() // before there is anyone to send one
	a.pid, err = syscall.ForkExec(path, start.Args, &syscall.ProcAttr{
		Env:   env,
		Files: files,
		Sys:   a.attributes(start, id),
	})
	restore()
	closeAll(files)
	if err != nil {
		return nil, execFailure(start.Args[0], err)
	}
	return a, nil
}

// attributes says what the child does between fork and exec.
func (a *app) attributes(start *proto.Start, id *identity) *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{
		Setsid:  true,
		Setctty: start.TTY, // Ctty 0: the child's stdin
		PidFD:   &a.pidfd,
	}
	if a.host {
		sys.Pdeathsig = syscall.SIGKILL // PID 1 takes everybody with it anyway
	}
	if id.isRoot() {
		return sys
	}
	sys.Credential = &syscall.Credential{Uid: id.uid, Gid: id.gid, Groups: id.groups}
	if id.uid == 0 {
		return sys
	}
	for n := range maxCapability + 1 {
		if start.Ambient.Has(n) {
			sys.AmbientCaps = append(sys.AmbientCaps, uintptr(n))
		}
	}
	return sys
}

// connectPipes gives the app a pipe for each stream that the host has, and
// /dev/null for the others. It returns the app's descriptors 0, 1 and 2.
func (a *app) connectPipes(io stdio, id *identity, label string) ([]uintptr, error) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fail("stdio", "open /dev/null", err)
	}
	files := []uintptr{uintptr(null), uintptr(null), uintptr(null)}
	for i, conn := range []int{io.stdin, io.stdout, io.stderr} {
		if conn < 0 {
			continue
		}
		var ends [2]int // read, write
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return nil, fail("stdio", "make a pipe", err)
		}
		theirs := ends[1]
		if i == 0 {
			theirs = ends[0]
			a.input = &stream{src: conn, dst: ends[1]}
		} else {
			a.outputs = append(a.outputs, &stream{src: ends[0], dst: conn, toHost: true})
		}
		if err := giveTo(theirs, id); err != nil {
			return nil, err
		}
		labelPipe(ends[0], label) // last: its owner is not ours to change under that label
		files[i] = uintptr(theirs)
	}
	return files, nil
}

// connectTerminal gives the app a pseudo-terminal as descriptors 0, 1 and 2.
func (a *app) connectTerminal(start *proto.Start, io stdio, id *identity) ([]uintptr, error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fail("stdio", "open /dev/ptmx", err)
	}
	a.master = master
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fail("stdio", "unlock the terminal", err)
	}
	number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return nil, fail("stdio", "name the terminal", err)
	}
	path := "/dev/pts/" + decimal(number)
	terminal, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fail("stdio", "open "+path, err)
	}
	if err := giveTo(terminal, id); err != nil {
		return nil, err
	}
	if !a.host { // that is the host's own
		if err := bindConsole(path); err != nil {
			return nil, err
		}
	}
	a.resize(&proto.Resize{Rows: start.Rows, Cols: start.Cols})
	if io.stdin >= 0 {
		a.input = &stream{src: io.stdin, dst: master, buf: make([]byte, ttyBufferSize)}
	}
	if io.stdout >= 0 {
		a.outputs = []*stream{{src: master, dst: io.stdout, buf: make([]byte, ttyBufferSize), toHost: true}}
	}
	fd := uintptr(terminal)
	return []uintptr{fd, fd, fd}, nil
}

// bindConsole makes /dev/console the app's terminal, as the OCI runtime spec does.
func bindConsole(terminal string) error {
	err := writeFile("/dev/console", unix.O_EXCL, "", 0o600)
	if err == nil {
		err = unix.Mount(terminal, "/dev/console", "", unix.MS_BIND, "")
	}
	return fail("stdio", "make /dev/console", err)
}

// giveTo makes the app's user the owner of a descriptor, who may then open it anew
// through /dev/stdout.
func giveTo(fd int, id *identity) error {
	if id.uid == 0 {
		return nil
	}
	return fail("stdio", "change the owner of a stream", unix.Fchown(fd, int(id.uid), -1))
}

// resize sets the terminal's size; the kernel sends SIGWINCH.
func (a *app) resize(r *proto.Resize) {
	if a.master < 0 {
		return
	}
	// It fails on no live terminal, and on a dead one it does not matter.
	_ = unix.IoctlSetWinsize(a.master, unix.TIOCSWINSZ, &unix.Winsize{Row: r.Rows, Col: r.Cols})
}

// signal passes on a signal of the host's. A number that is none is ignored, as
// is one for a process that has just ended.
func (a *app) signal(s *proto.Signal) {
	_ = unix.PidfdSendSignal(a.pidfd, unix.Signal(s.Signal), nil, 0)
}

// closeAll closes the app's ends in this process, each once.
func closeAll(files []uintptr) {
	for i, fd := range files {
		if i > 0 && fd == files[i-1] || i > 1 && fd == files[i-2] {
			continue
		}
		unix.Close(int(fd))
	}
}
