// Package networktest makes networks for tests: a namespace in the place of the host's, with
// a way out to another one, the world. The machine's own network has no part in it.
package networktest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// Addresses on both ends of the way out.
const (
	HostAddress  = "192.0.2.2"
	WorldAddress = "192.0.2.1"
)

// Host is a network namespace that stands for the host's. The goroutine that made it, and
// what it starts, is in there, with a mount namespace of its own.
type Host struct {
	t     testing.TB
	world chan func()
	inode uint64
	ns    *os.File
}

// New moves this goroutine, which has to be a test's, into a new Host for good.
func New(t testing.TB) *Host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	h := &Host{t: t, world: make(chan func())}
	tids := make(chan int)
	go h.serveWorld(tids)
	tid := <-tids
	t.Cleanup(func() { close(h.world) })
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	h.must(unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_FS))
	h.must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	h.ip("link set lo up")
	h.ip("link add out type veth peer name in netns %d", tid)
	h.ip("addr add %s/24 dev out", HostAddress)
	h.ip("link set out up")
	h.InWorld(func() {
		h.ip("link set lo up")
		h.ip("addr add %s/24 dev in", WorldAddress)
		h.ip("link set in up")
	})
	h.ip("route add default via %s", WorldAddress)
	var st unix.Stat_t
	h.must(unix.Stat("/proc/thread-self/ns/net", &st))
	h.inode = st.Ino
	ns, err := os.Open("/proc/thread-self/ns/net")
	h.must(err)
	t.Cleanup(func() { ns.Close() })
	h.ns = ns
	return h
}

func (h *Host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// ip runs ip(8) on this thread.
func (h *Host) ip(format string, args ...any) {
	h.t.Helper()
	if out, err := exec.Command("ip", strings.Fields(fmt.Sprintf(format, args...))...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip "+format+": %v: %s", append(args, err, out)...)
	}
}

func (h *Host) serveWorld(tids chan<- int) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		h.t.Error(err)
	}
	tids <- unix.Gettid()
	for f := range h.world {
		f()
	}
}

// InWorld runs f in the world's network namespace.
func (h *Host) InWorld(f func()) {
	done := make(chan struct{})
	h.world <- func() {
		defer close(done)
		f()
	}
	<-done
}

// InHost runs f in the host's network namespace, on another thread than the test's.
func (h *Host) InHost(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			h.t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// patience bounds how long Ask waits for an answer.
const patience = 20 * time.Second

// Ask connects to a server from this thread's namespace, and speaks first (pasta of 2023 passes nothing on from
// one that does, until then), until it says something.
func Ask(network, address string) (answer string, err error) {
	for deadline := time.Now().Add(patience); ; {
		if answer, err = ask(network, address); err == nil && answer != "" || time.Now().After(deadline) {
			return answer, err
		}
		ts := unix.NsecToTimespec(int64(20 * time.Millisecond))
		_ = unix.Nanosleep(&ts, nil)
	}
}

// ask asks once.
func ask(network, address string) (string, error) {
	const short = 200 * time.Millisecond
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if network == "udp" {
		_ = c.SetDeadline(time.Now().Add(short))
	}
	if _, err := c.Write([]byte("?\n")); err != nil {
		return "", err
	}
	buf := make([]byte, 1500)
	n, err := c.Read(buf)
	if err == io.EOF {
		err = nil
	}
	return string(buf[:n]), err
}

// Device has this goroutine, and what it starts, find a device at path that everybody may use.
func (h *Host) Device(path string, number uint64) {
	h.t.Helper()
	node := filepath.Join(h.t.TempDir(), "device")
	h.must(unix.Mknod(node, unix.S_IFCHR|0o666, int(number)))
	h.must(os.Chmod(node, 0o666))
	h.must(unix.Mount(node, path, "", unix.MS_BIND, ""))
	h.t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

// Serve has a TCP server at an address of this thread's namespace say something to
// everyone. It returns the port.
func (h *Host) Serve(address, say string) string {
	h.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		h.t.Error(err)
		return ""
	}
	h.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, say)
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c) // unread, it would turn the end into a reset
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// ServeNames has a DNS server at an address of this thread's namespace give everyone the
// world's address for name.
func (h *Host) ServeNames(address, name string) {
	h.t.Helper()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		h.t.Error(err)
		return
	}
	h.t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply, err := answer(buf[:n], name); err == nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
}

// answer is that to a query: the world's address, or that there is no such name.
func answer(query []byte, name string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	if len(m.Questions) != 1 {
		return nil, errors.New("not one question")
	}
	q := m.Questions[0]
	m.Response, m.Authoritative = true, true
	m.Additionals = nil
	switch {
	case q.Name.String() != name+".":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(WorldAddress).To4())},
		}}
	}
	return m.Pack()
}

// Isolate takes away the way out.
func (h *Host) Isolate() {
	h.t.Helper()
	h.ip("link del out")
}

// SetFile gives a file of the host another content, for this goroutine and what it starts.
func (h *Host) SetFile(path, content string) {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "file")
	h.must(os.WriteFile(file, []byte(content), 0o644))
	h.must(unix.Mount(file, path, "", unix.MS_BIND, ""))
	h.t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

// Empty has this goroutine, and what it starts, see an empty folder at path.
func (h *Host) Empty(path string) {
	h.t.Helper()
	h.must(os.MkdirAll(path, 0o755))
	h.must(unix.Mount("tmpfs", path, "tmpfs", 0, ""))
	h.t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

// Processes lists the command lines of all processes in the host's network namespace but
// this one.
func (h *Host) Processes() (found []string) {
	for _, p := range h.processes() {
		found = append(found, p.line)
	}
	return found
}

// Kill ends those of them whose command line has the text in it.
func (h *Host) Kill(text string) (killed int) {
	h.t.Helper()
	for _, p := range h.processes() {
		if strings.Contains(p.line, text) {
			h.must(unix.Kill(p.id, unix.SIGKILL))
			killed++
		}
	}
	return killed
}

type process struct {
	id   int
	line string
}

func (h *Host) processes() (found []process) {
	paths, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, path := range paths {
		var st unix.Stat_t
		if strings.HasPrefix(path, fmt.Sprintf("/proc/%d/", os.Getpid())) || unix.Stat(path, &st) != nil || st.Ino != h.inode {
			continue
		}
		if line, err := os.ReadFile(filepath.Join(filepath.Dir(path), "../cmdline")); err == nil && len(line) > 0 {
			id, err := strconv.Atoi(strings.Split(path, "/")[2])
			h.must(err)
			found = append(found, process{id, strings.ReplaceAll(string(line), "\x00", " ")})
		}
	}
	return found
}
