package main

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

func TestRootIsWritableAndComplete(t *testing.T) {
	script := `
touch /new /etc/new
test -c /dev/null; test -c /dev/full; test -c /dev/tty
head -c 4 /dev/zero | wc -c
for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done
while read -r dev dir type opts rest; do
	opts=${opts%%,*}
	echo $dir $type $opts
done </proc/mounts
stat -c %a /dev/shm /dev/null
readlink /proc/1/root`
	want := `4
/proc/self/fd
/proc/self/fd/0
/proc/self/fd/1
/proc/self/fd/2
pts/ptmx
/ overlay rw
/proc proc rw
/sys sysfs ro
/sys/fs/cgroup cgroup2 ro
/dev tmpfs rw
/dev/pts devpts rw
/dev/shm tmpfs rw
/dev/mqueue mqueue rw
1777
666
/
`
	wantOutput(t, runVM(t, shell(script), ""), want)
}

func TestReadOnlyRoot(t *testing.T) {
	readOnly := func(s *proto.Start) { s.ReadOnlyRoot, s.Dir = true, "/made" }
	script := "if touch /new 2>/dev/null; then echo writable; fi; touch /dev/shm/new; pwd; cat /etc/hostname"
	wantOutput(t, runVM(t, with(shell(script), readOnly), ""), "/made\nlocalhost\n")
}

func TestOverlaySizeIsTheLimit(t *testing.T) {
	start := with(shell("if head -c 2000000 /dev/zero 2>/dev/null >/big; then echo fits; else echo full; fi"),
		func(s *proto.Start) { s.OverlaySize = 1 << 20 })
	o := runVM(t, start, "")
	wantOutput(t, outcome{stdout: o.stdout, exit: o.exit, failure: o.failure}, "full\n")
}

func TestHostNameAndFiles(t *testing.T) {
	start := with(shell("hostname; cat /etc/hostname /etc/hosts"), func(s *proto.Start) { s.Hostname = "box" })
	wantOutput(t, runVM(t, start, ""), "box\nbox\n127.0.0.1\tlocalhost box\n")

	start = with(shell("cat /etc/hosts /etc/resolv.conf /opt/a/b; stat -c %a /opt/a/b; readlink /etc/escape"),
		func(s *proto.Start) {
			s.Files = []proto.File{
				{Path: "/etc/hosts", Content: "hosts\n", Mode: 0o644},
				{Path: "/etc/resolv.conf", Content: "resolv\n", Mode: 0o644}, // a dangling link in the image
				{Path: "/opt/a/b", Content: "b\n", Mode: 0o640},
			}
		})
	wantOutput(t, runVM(t, start, ""), "hosts\nresolv\nb\n640\n/../../../../etc/hostname\n")
}

func TestBadPathsAreFailures(t *testing.T) {
	for want, edit := range map[string]func(*proto.Start){
		"enter srv: not an absolute path":         func(s *proto.Start) { s.Dir = "srv" },
		"enter /etc/passwd: not a directory":      func(s *proto.Start) { s.Dir = "/etc/passwd" },
		"write etc/x: not an absolute path":       func(s *proto.Start) { s.Files = []proto.File{{Path: "etc/x"}} },
		"write /srv: is a directory":              func(s *proto.Start) { s.Files = []proto.File{{Path: "/srv"}} },
		"set resource limit 99: invalid argument": func(s *proto.Start) { s.Rlimits = []proto.Rlimit{{Resource: 99}} },
	} {
		o := runVM(t, with(shell("true"), edit), "")
		if o.failure == nil || o.failure.Message != want || o.failure.ExitCode != proto.ExitFailure {
			t.Errorf("%+v, want %q", o.failure, want)
		}
	}
}

func TestWorkingDirectoryIsMade(t *testing.T) {
	for dir, want := range map[string]string{"": "/", "/srv": "/srv", "/not/there/yet/": "/not/there/yet"} {
		start := with(shell("pwd"), func(s *proto.Start) { s.Dir = dir })
		wantOutput(t, runVM(t, start, ""), want+"\n")
	}
}

func TestLoopbackIsUp(t *testing.T) {
	o := runVM(t, shell("ip -o addr show lo"), "")
	if !strings.Contains(o.stdout, "127.0.0.1/8") {
		t.Errorf("lo has %q, stderr %q", o.stdout, o.stderr)
	}
}

func TestRestrictedPaths(t *testing.T) {
	start := with(shell(`
wc -c </proc/version
ls /sys/kernel | wc -l
if (echo x >/proc/sys/kernel/hostname) 2>/dev/null; then echo writable; fi
cat /proc/sys/kernel/hostname`), func(s *proto.Start) {
		s.Hostname = "box"
		s.MaskedPaths = []string{"/proc/version", "/sys/kernel", "/proc/none", "/proc/version/none"}
		s.ReadOnlyPaths = []string{"/proc/sys", "/proc/none"}
	})
	wantOutput(t, runVM(t, start, ""), "0\n0\nbox\n")
}

// dockerDefault is docker's default set, as an example of a set with holes.
func dockerDefault() proto.CapabilitySet {
	var s proto.CapabilitySet
	for _, n := range []int{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
		unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW,
		unix.CAP_SYS_CHROOT, unix.CAP_MKNOD, unix.CAP_AUDIT_WRITE, unix.CAP_SETFCAP,
	} {
		s = s.With(n)
	}
	return s
}

// ownCapabilities is this machine's bounding set, which may be smaller than a VM's.
func ownCapabilities(t *testing.T) proto.CapabilitySet {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var s proto.CapabilitySet
	_, after, _ := strings.Cut(string(status), "CapBnd:\t")
	if _, err := fmt.Sscanf(after, "%x", (*uint64)(&s)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCapabilities(t *testing.T) {
	own, docker := ownCapabilities(t), dockerDefault()
	bind := proto.CapabilitySet(0).With(unix.CAP_NET_BIND_SERVICE)
	for name, c := range map[string]struct {
		user                  string
		set, ambient          proto.CapabilitySet
		noNew                 bool
		held, bounding, extra proto.CapabilitySet
	}{
		"root":              {set: docker, held: docker & own, bounding: docker & own},
		"root, all":         {set: proto.AllCapabilities, held: own, bounding: own},
		"root, none":        {noNew: true},
		"user":              {user: "www", set: docker, noNew: true, bounding: docker & own},
		"user with ambient": {user: "www", set: docker, ambient: bind, held: bind, bounding: docker & own, extra: bind},
	} {
		start := with(shell("grep -e ^Cap -e ^NoNew /proc/self/status"), func(s *proto.Start) {
			s.User, s.Capabilities, s.Ambient, s.NoNewPrivileges = c.user, c.set, c.ambient, c.noNew
		})
		noNew := 0
		if c.noNew {
			noNew = 1
		}
		want := fmt.Sprintf("CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\nCapAmb:\t%016x\nNoNewPrivs:\t%d\n",
			c.extra, c.held, c.held, c.bounding, c.extra, noNew)
		o := runVM(t, start, "")
		t.Run(name, func(t *testing.T) { wantOutput(t, o, want) })
	}
}

func TestAmbientOutsideOfTheBoundingSetIsRefused(t *testing.T) {
	start := with(shell("true"), func(s *proto.Start) {
		s.Capabilities, s.Ambient, s.Stdout, s.Stderr = 0, 1, false, false
	})
	if o := runVM(t, start, ""); o.failure == nil || o.failure.Stage != "start" {
		t.Errorf("%+v, want a failure", o)
	}
}

func TestLimitsAndUmask(t *testing.T) {
	start := with(shell("ulimit -n; ulimit -Hc; umask; touch /f; stat -c %a /f"), func(s *proto.Start) {
		s.Umask = 0o077
		s.Rlimits = []proto.Rlimit{
			{Resource: unix.RLIMIT_NOFILE, Soft: 64, Hard: 128},
			{Resource: unix.RLIMIT_CORE, Soft: 0, Hard: 0},
		}
	})
	wantOutput(t, runVM(t, start, ""), "64\n0\n0077\n600\n")
}

func TestSignalsAreAtTheirDefaults(t *testing.T) {
	start := with(shell(""), func(s *proto.Start) { s.Args = []string{"grep", "-e", "^Sig[BIC]", "/proc/self/status"} })
	got := make(map[string]uint64)
	for line := range strings.Lines(runVM(t, start, "").stdout) {
		name, mask, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		n, err := strconv.ParseUint(mask, 16, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got[name] = n
	}
	// What starts the test may ignore either of the two signals that C libraries keep
	// for themselves, and Go cannot change that; a guest's PID 1 inherits nothing.
	const ofTheLibrary = 1<<(32-1) | 1<<(33-1)
	got["SigIgn"] &^= ofTheLibrary
	if want := map[string]uint64{"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}; !maps.Equal(got, want) {
		t.Errorf("app's signals: %x, want %x", got, want)
	}
}

func TestNoDescriptorLeaksIntoTheApp(t *testing.T) {
	start := with(shell(""), func(s *proto.Start) {
		s.Stdin, s.Args = true, []string{"ls", "/proc/self/fd"} // 3 is the directory itself
	})
	wantOutput(t, runVM(t, start, ""), "0\n1\n2\n3\n")
}
