package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// The tests run PID 1 for real, short of a VM: the test binary starts itself in
// namespaces of its own, whose root is set up as the initramfs is, with the root
// image on a loop device and Unix sockets in place of vsock.

const (
	guestEnv  = "CLEARRUN_TEST_GUEST"  // directory of the sockets: be PID 1
	deviceEnv = "CLEARRUN_TEST_DEVICE" // the root image's device

	// patience bounds a wait for something that must happen.
	patience = 20 * time.Second
)

func TestMain(m *testing.M) {
	if sockets := os.Getenv(guestEnv); sockets != "" {
		beInit(sockets, os.Getenv(deviceEnv))
	}
	code := m.Run()
	if shared.loop != nil {
		shared.loop.Close()
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// beInit is what the kernel does before PID 1, and then PID 1.
func beInit(sockets, device string) {
	if err := enterInitramfs(sockets); err != nil {
		fmt.Fprintln(os.Stderr, "set up the test's initramfs:", err)
		os.Exit(1)
	}
	boot(platform{mountImage: mountDevice(device), dial: func(port uint32) (int, error) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return -1, err
		}
		return fd, unix.Connect(fd, &unix.SockaddrUnix{Name: "/host/" + strconv.Itoa(int(port))})
	}})
	powerOff()
	select {} // the namespace is being torn down
}

// enterInitramfs makes a tmpfs the root directory, with what hack/mkinitramfs packs.
func enterInitramfs(sockets string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	root := filepath.Join(sockets, "initramfs")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, ""); err != nil {
		return err
	}
	for _, dir := range []string{devDir, imageDir, overlayDir, rootDir, "/host"} {
		if err := os.Mkdir(root+dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(sockets, root+"/host", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	// As the kernel starts PID 1: whatever ran the test may have left descriptors.
	unix.Umask(0o022)
	return unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}

// vm is the host's side of one run.
type vm struct {
	t       *testing.T
	cmd     *exec.Cmd
	console strings.Builder
	ended   chan error // from cmd.Wait
	control *net.UnixConn
	// streams are those that Start asked for.
	stdin, stdout, stderr *net.UnixConn
}

// bootVM starts PID 1 and sends start.
func bootVM(t *testing.T, start *proto.Start) *vm {
	t.Helper()
	device := rootImage(t)
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listen := func(port int) *net.UnixListener {
		addr := &net.UnixAddr{Name: filepath.Join(dir, strconv.Itoa(port)), Net: "unix"}
		l, err := net.ListenUnix("unix", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	control, stdin := listen(proto.ControlPort), listen(proto.StdinPort)
	stdout, stderr := listen(proto.StdoutPort), listen(proto.StderrPort)

	v := &vm{t: t, ended: make(chan error, 1)}
	v.startProcess(dir, device, control, stdin, stdout, stderr)
	v.control = v.accept(control)
	if err := proto.Write(v.control, start); err != nil {
		t.Fatalf("send start: %v", err)
	}
	for _, s := range []struct {
		wanted bool
		from   *net.UnixListener
		conn   **net.UnixConn
	}{{start.Stdin, stdin, &v.stdin}, {start.Stdout, stdout, &v.stdout}, {start.Stderr, stderr, &v.stderr}} {
		if s.wanted {
			*s.conn = v.accept(s.from)
		}
	}
	return v
}

// startProcess starts the test binary as PID 1 of new namespaces. When it ends,
// nobody shall wait any longer for it to connect.
func (v *vm) startProcess(sockets, device string, listeners ...*net.UnixListener) {
	v.t.Helper()
	v.cmd = exec.Command("/proc/self/exe")
	v.cmd.Env = []string{guestEnv + "=" + sockets, deviceEnv + "=" + device, "GOGC=off", "GOMAXPROCS=2"}
	v.cmd.Stdout, v.cmd.Stderr = &v.console, &v.console
	v.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
			unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP,
		Setsid: true, // no controlling terminal, as PID 1 has none
	}
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	go func() {
		err := v.cmd.Wait()
		for _, l := range listeners {
			l.Close()
		}
		v.ended <- err
		close(v.ended)
	}()
	v.t.Cleanup(func() {
		v.cmd.Process.Kill() // mostly too late
		<-v.ended
		if v.t.Failed() && v.console.Len() > 0 {
			v.t.Logf("console: %s", v.console.String())
		}
	})
}

// accept waits for one connection of the guest's.
func (v *vm) accept(l *net.UnixListener) *net.UnixConn {
	v.t.Helper()
	l.SetDeadline(time.Now().Add(patience))
	conn, err := l.AcceptUnix()
	if err != nil {
		v.t.Fatalf("the guest does not connect to %s: %v", l.Addr(), err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	v.t.Cleanup(func() { conn.Close() })
	return conn
}

func (v *vm) send(m proto.Message) {
	v.t.Helper()
	if err := proto.Write(v.control, m); err != nil {
		v.t.Fatalf("send %T: %v", m, err)
	}
}

func (v *vm) receive() proto.Message {
	v.t.Helper()
	m, err := proto.Read(v.control)
	if err != nil {
		v.t.Fatalf("read from the guest: %v", err)
	}
	return m
}

// started waits for the app to run.
func (v *vm) started() {
	v.t.Helper()
	if m, ok := v.receive().(*proto.Started); !ok || m.PID < 2 {
		v.t.Fatalf("received %T %+v, want Started", m, m)
	}
}

// end waits for the last message, lets the guest go and checks that it powers off.
func (v *vm) end() proto.Message {
	v.t.Helper()
	last := v.receive()
	v.control.Close()
	v.poweredOff()
	return last
}

// poweredOff waits for the reboot: of a PID namespace, it ends PID 1 by SIGHUP.
func (v *vm) poweredOff() {
	v.t.Helper()
	late := time.AfterFunc(patience, func() { v.cmd.Process.Kill() })
	defer late.Stop()
	err := <-v.ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGHUP {
		v.t.Fatalf("PID 1 ended with %v, want a power-off", err)
	}
}

// outcome is all that a run leaves at the host.
type outcome struct {
	stdout, stderr string
	exit           *proto.Exit
	failure        *proto.Failure
}

// runVM runs start to its end, with input on stdin if Start.Stdin is set.
func runVM(t *testing.T, start *proto.Start, input string) outcome {
	t.Helper()
	v := bootVM(t, start)
	if v.stdin != nil {
		go func() {
			io.WriteString(v.stdin, input) // an app need not read it all
			v.stdin.CloseWrite()
		}()
	}
	stdout, stderr := collect(v.stdout), collect(v.stderr)
	m := v.receive()
	if f, ok := m.(*proto.Failure); ok {
		v.control.Close()
		v.poweredOff()
		return outcome{failure: f}
	}
	if _, ok := m.(*proto.Started); !ok {
		t.Fatalf("received %T %+v, want Started", m, m)
	}
	// Output comes to its end before the last message.
	o := outcome{stdout: <-stdout, stderr: <-stderr}
	o.exit, _ = v.end().(*proto.Exit)
	if o.exit == nil {
		t.Fatal("the last message is not Exit")
	}
	return o
}

// collect reads a stream to its end.
func collect(conn *net.UnixConn) <-chan string {
	all := make(chan string, 1)
	if conn == nil {
		all <- ""
		return all
	}
	go func() {
		b, err := io.ReadAll(conn)
		if err != nil {
			b = append(b, "\nread error: "+err.Error()...)
		}
		all <- string(b)
	}()
	return all
}

// shell is a Start that runs a script with both outputs.
func shell(script string) *proto.Start {
	return &proto.Start{
		Args: []string{"sh", "-ec", script}, Stdout: true, Stderr: true,
		Capabilities: proto.AllCapabilities, Umask: 0o022,
	}
}

// with edits a Start.
func with(s *proto.Start, edit func(*proto.Start)) *proto.Start {
	edit(s)
	return s
}

// wantOutput checks for exit code 0 and this output.
func wantOutput(t *testing.T, o outcome, stdout string) {
	t.Helper()
	if o.failure != nil {
		t.Fatalf("failure: %+v", *o.failure)
	}
	if *o.exit != (proto.Exit{}) || o.stdout != stdout || o.stderr != "" {
		t.Errorf("exit %+v, stdout %q, stderr %q; want 0 and %q", *o.exit, o.stdout, o.stderr, stdout)
	}
}
