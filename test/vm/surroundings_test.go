package vm

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clearrun/clearrun/guest/proto"
)

// surroundings is what probe reports (test/vm/apps/probe, Report).
type surroundings struct {
	Args, Env     []string
	Dir, Hostname string
	UID, GID      int
	Groups        []int
	Status        map[string]string
	MemInfo       map[string]string
	Mounts        map[string]struct{ Type, Options string }
	Devices       map[string]struct {
		Type          string
		Major, Minor  uint32
		Perm          fs.FileMode
		Target, Error string
	}
	Files   map[string]string
	CPUs    int
	Threads []struct {
		CPU   int
		On    []int
		Steps int
		Error string
	}
	DirWrite, ShmWrite, Loopback string
	Interfaces                   []string
	VSock                        map[uint32]string
	Time                         time.Time
	Random                       [2]string
	Descriptors                  []string

	began, ended time.Time // of the run, by the host's clock
}

// look runs probe and gives its report.
func look(t *testing.T, options ...string) surroundings {
	t.Helper()
	s := surroundings{began: time.Now()}
	cmd := clearrun(t, shared.place, append(options, shared.probe, "--", "report")...)
	cmd.Env = append(os.Environ(), "FROM_HOST=1")
	r := runCmd(t, cmd)
	r.check(t, 0)
	s.ended = time.Now()
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("%v\n%v", err, r)
	}
	return s
}

// Capability sets as /proc/self/status shows them: docker's default, the same without
// CAP_NET_RAW, and nothing.
const (
	defaultCapabilities      = "00000000a80425fb"
	defaultCapabilitiesNoRaw = "00000000a80405fb"
	noCapabilities           = "0000000000000000"
)

// TestSmallVM runs the app as a user that the image names, with little memory.
func TestSmallVM(t *testing.T) {
	needVM(t)
	takeSlot(t)
	s := look(t, "--memory", "128M", "--hostname", "small.test", "--user", "worker", "--workdir", "/srv/data",
		"--env", "GIVEN=a b=c", "--env", "FROM_HOST", "--env", "NOT_ON_HOST")
	s.checkMemory(t, 128<<10)
	s.checkStatus(t, map[string]string{
		"CapBnd": defaultCapabilities, "CapEff": noCapabilities, "CapPrm": noCapabilities, "CapAmb": noCapabilities,
		"NoNewPrivs": "0", "Umask": "0022", "PPid": "1",
	})
	s.checkUser(t, 1234, 2345, []int{3456})
	s.checkTexts(t, map[string][2]string{
		"working directory":    {s.Dir, "/srv/data"},
		"host name":            {s.Hostname, "small.test"},
		"/etc/hostname":        {s.Files["/etc/hostname"], "small.test\n"},
		"/etc/motd":            {s.Files["/etc/motd"], "from the image\n"},
		"PID 1":                {s.Files["/proc/1/comm"], "init\n"},
		"error of writing":     {s.DirWrite, ""},
		"error of /dev/shm":    {s.ShmWrite, ""},
		"error of loopback":    {s.Loopback, ""},
		"arguments":            {strings.Join(s.Args, " "), "/bin/probe report"},
		"network interfaces":   {strings.Join(s.Interfaces, ", "), "lo up|loopback|running"},
		"standard input":       {s.Descriptors[0], "/dev/null"},
		"standard output kind": {strings.Trim(s.Descriptors[1], "[]0123456789"), "pipe:"},
		"standard error kind":  {strings.Trim(s.Descriptors[2], "[]0123456789"), "pipe:"},
	})
	if s.Descriptors[1] == s.Descriptors[2] {
		t.Errorf("stdout and stderr are the same: %s", s.Descriptors[1])
	}
	if !strings.Contains(s.Files["/etc/hosts"], "127.0.0.1\tlocalhost\n") || !strings.Contains(s.Files["/etc/hosts"], "small.test") {
		t.Errorf("/etc/hosts: %q", s.Files["/etc/hosts"])
	}
	s.checkEnv(t, []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/worker",
		"HOSTNAME=small.test", "AC_APP_NAME=probe", "FROM_IMAGE=1", "FROM_HOST=1", "GIVEN=a b=c",
	})
	s.checkClockAndRandom(t)
	s.checkVSock(t)
	s.checkMounts(t, "rw")
	s.checkDevices(t)
	if s.CPUs != 1 {
		t.Errorf("%d CPUs, want the default of 1", s.CPUs)
	}
}

// TestLargerVM gives the app two CPUs, more memory and fewer rights.
func TestLargerVM(t *testing.T) {
	needVM(t)
	takeSlots(t, 2)
	s := look(t, "--memory", "512M", "--cpus", "2", "--user", "1000:2000", "--workdir", "/srv/data",
		"--read-only", "--no-new-privileges", "--cap-drop", "NET_RAW")
	s.checkMemory(t, 512<<10)
	s.checkStatus(t, map[string]string{
		"CapBnd": defaultCapabilitiesNoRaw, "CapEff": noCapabilities, "NoNewPrivs": "1",
	})
	s.checkUser(t, 1000, 2000, nil)
	s.checkTexts(t, map[string][2]string{
		"host name":         {s.Hostname, "probe"},
		"error of writing":  {s.DirWrite, "open probe-was-here: read-only file system"},
		"error of /dev/shm": {s.ShmWrite, ""},
	})
	s.checkMounts(t, "ro")
	s.checkCPUs(t, 2)
}

// TestMemory uses more memory than the kernel prepares at its start (guest/kernel-config,
// memory on demand).
func TestMemory(t *testing.T) {
	needVM(t)
	takeSlot(t)
	r := run(t, shared.place, "--memory", "512M", shared.probe, "--", "fill", "150")
	r.check(t, 0)
	if want := "150 MiB kept what was written\n"; r.stdout != want {
		t.Errorf("want %q:\n%v", want, r)
	}
}

// checkMemory: the kernel keeps some for itself, and no more is there than asked for.
func (s surroundings) checkMemory(t *testing.T, askedKiB int) {
	t.Helper()
	const leastPercent = 80
	total, err := strconv.Atoi(s.MemInfo["MemTotal"])
	if err != nil || total > askedKiB || total*100 < askedKiB*leastPercent {
		t.Errorf("MemTotal is %s KiB, want %d%% to 100%% of %d", s.MemInfo["MemTotal"], leastPercent, askedKiB)
	}
}

func (s surroundings) checkStatus(t *testing.T, want map[string]string) {
	t.Helper()
	for field, value := range want {
		if got := s.Status[field]; got != value {
			t.Errorf("%s: %q, want %q", field, got, value)
		}
	}
}

func (s surroundings) checkUser(t *testing.T, uid, gid int, groups []int) {
	t.Helper()
	if s.UID != uid || s.GID != gid || !slices.Equal(s.Groups, groups) {
		t.Errorf("user %d, group %d, groups %v, want %d, %d, %v", s.UID, s.GID, s.Groups, uid, gid, groups)
	}
}

// checkTexts compares pairs of got and want.
func (s surroundings) checkTexts(t *testing.T, texts map[string][2]string) {
	t.Helper()
	for what, pair := range texts {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
		}
	}
}

func (s surroundings) checkEnv(t *testing.T, want []string) {
	t.Helper()
	slices.Sort(s.Env)
	slices.Sort(want)
	if !slices.Equal(s.Env, want) {
		t.Errorf("environment %q, want %q", s.Env, want)
	}
}

func (s surroundings) checkClockAndRandom(t *testing.T) {
	t.Helper()
	if s.Time.Before(s.began.Add(-time.Minute)) || s.Time.After(s.ended.Add(time.Minute)) {
		t.Errorf("the app's clock shows %v, the host's %v to %v", s.Time, s.began, s.ended)
	}
	for _, r := range s.Random {
		if len(r) != 32 || strings.Trim(r, "0") == "" {
			t.Errorf("random bytes %q", r)
		}
	}
	if s.Random[0] == s.Random[1] {
		t.Errorf("the same random bytes twice: %s", s.Random[0])
	}
}

// checkVSock: the ports over which PID 1 and the host speak are of no use to the app.
func (s surroundings) checkVSock(t *testing.T) {
	t.Helper()
	const closed = "0 bytes, then an end: true"
	want := map[uint32]string{
		proto.ControlPort: closed, proto.StdinPort: closed, proto.StdoutPort: closed, proto.StderrPort: closed,
		9999: "refused",
	}
	if !maps.Equal(s.VSock, want) {
		t.Errorf("connections of the app to the host: %v, want %v", s.VSock, want)
	}
}

func (s surroundings) checkMounts(t *testing.T, root string) {
	t.Helper()
	for _, want := range []struct{ dir, fsType, option string }{
		{"/", "overlay", root},
		{"/proc", "proc", "nosuid"},
		{"/sys", "sysfs", "ro"},
		{"/dev", "tmpfs", "nosuid"},
		{"/dev/pts", "devpts", "noexec"},
		{"/dev/shm", "tmpfs", "nodev"},
	} {
		m := s.Mounts[want.dir]
		if m.Type != want.fsType || !slices.Contains(strings.Split(m.Options, ","), want.option) {
			t.Errorf("%s: %q, want %s with %s", want.dir, m, want.fsType, want.option)
		}
	}
}

func (s surroundings) checkDevices(t *testing.T) {
	t.Helper()
	for name, want := range map[string]string{
		"null": "Dc--------- 1:3 -rw-rw-rw-", "zero": "Dc--------- 1:5 -rw-rw-rw-", "full": "Dc--------- 1:7 -rw-rw-rw-",
		"random": "Dc--------- 1:8 -rw-rw-rw-", "urandom": "Dc--------- 1:9 -rw-rw-rw-", "tty": "Dc--------- 5:0 -rw-rw-rw-",
		"pts/ptmx": "Dc--------- 5:2 -rw-rw-rw-",
		"ptmx":     "-> pts/ptmx", "fd": "-> /proc/self/fd",
		"stdin": "-> /proc/self/fd/0", "stdout": "-> /proc/self/fd/1", "stderr": "-> /proc/self/fd/2",
		"kvm": "absent", "vda": "absent", "mem": "absent", "vsock": "absent",
	} {
		d := s.Devices[name]
		got := fmt.Sprintf("%s %d:%d %v", d.Type, d.Major, d.Minor, d.Perm)
		switch {
		case d.Error != "":
			got = "absent"
		case d.Target != "":
			got = "-> " + d.Target
		}
		if got != want {
			t.Errorf("/dev/%s: %s, want %s", name, got, want)
		}
	}
}

// checkCPUs: a thread was bound to each, was nowhere else, and all made their steps.
func (s surroundings) checkCPUs(t *testing.T, n int) {
	t.Helper()
	const turns = 100 // of the probe
	if s.CPUs != n || len(s.Threads) != n {
		t.Fatalf("%d CPUs and %d threads, want %d", s.CPUs, len(s.Threads), n)
	}
	for i, thread := range s.Threads {
		if thread.Error != "" || thread.CPU != i || !slices.Equal(thread.On, []int{i}) || thread.Steps != turns {
			t.Errorf("thread %d: %+v, want %d steps on CPU %d alone", i, thread, turns, i)
		}
	}
}
