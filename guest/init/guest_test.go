package main

import (
	"bytes"
	"crypto/rand"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

func TestStandardStreamsStayApart(t *testing.T) {
	o := runVM(t, shell("echo out; echo err >&2; exit 3"), "")
	if o.stdout != "out\n" || o.stderr != "err\n" || *o.exit != (proto.Exit{Code: 3}) {
		t.Errorf("%+v, exit %+v", o, o.exit)
	}
}

func TestHowTheAppEnds(t *testing.T) {
	for script, want := range map[string]proto.Exit{
		"exit 0":            {},
		"exit 255":          {Code: 255},
		"kill -TERM $$":     {Signal: uint8(unix.SIGTERM)},
		"kill -KILL $$":     {Signal: uint8(unix.SIGKILL)},
		"sleep 1000 & true": {}, // what is left behind does not hold up the end
		"exec >&- 2>&-":     {},
	} {
		o := runVM(t, shell(script), "")
		if o.exit != nil {
			o.exit.OOMKilled = false // a count of the whole machine, whose other tests make it grow
		}
		if o.exit == nil || *o.exit != want {
			t.Errorf("%s: exit %+v, failure %+v, want %+v", script, o.exit, o.failure, want)
		}
	}
}

func TestLargeBinaryEcho(t *testing.T) {
	data := make([]byte, 10<<20)
	rand.Read(data)
	start := with(shell("cat"), func(s *proto.Start) { s.Stdin = true })
	o := runVM(t, start, string(data))
	if !bytes.Equal([]byte(o.stdout), data) {
		t.Errorf("%d bytes came back of %d, or others", len(o.stdout), len(data))
	}
	if *o.exit != (proto.Exit{}) {
		t.Errorf("exit %+v", *o.exit)
	}
}

func TestEndOfStdin(t *testing.T) {
	stdin := func(s *proto.Start) { s.Stdin = true }
	wantOutput(t, runVM(t, with(shell("cat; echo end"), stdin), "some\n"), "some\nend\n")
	// The app reads five bytes of many and goes on without stdin.
	script := "head -c 5; exec <&-; echo; echo on"
	wantOutput(t, runVM(t, with(shell(script), stdin), strings.Repeat("12345", 1<<20)), "12345\non\n")
	// Without Stdin it is empty, not absent.
	wantOutput(t, runVM(t, shell("cat; readlink /proc/self/fd/0"), ""), "/dev/null\n")
}

func TestHostThatStopsReadingBreaksThePipe(t *testing.T) {
	v := bootVM(t, with(shell("exec yes"), func(s *proto.Start) { s.Stderr = false }))
	v.started()
	if _, err := io.ReadFull(v.stdout, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	v.stdout.Close()
	if got, ok := v.end().(*proto.Exit); !ok || got.Signal != uint8(unix.SIGPIPE) {
		t.Errorf("last message %+v, want death by SIGPIPE", got)
	}
}

func TestLostHostPowersOff(t *testing.T) {
	v := bootVM(t, shell("sleep 1000"))
	v.started()
	v.control.Close()
	v.poweredOff()
}

func TestSignalReachesTheApp(t *testing.T) {
	v := bootVM(t, shell("trap 'exit 7' TERM; echo ready; sleep 1000 & wait"))
	v.started()
	if _, err := io.ReadFull(v.stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	v.send(&proto.Signal{Signal: 1 << 31})  // no such signal: ignored
	v.send(&proto.Resize{Rows: 1, Cols: 1}) // no terminal: ignored
	v.send(&proto.Signal{Signal: uint32(unix.SIGTERM)})
	if got, ok := v.end().(*proto.Exit); !ok || *got != (proto.Exit{Code: 7}) {
		t.Errorf("last message %+v, want exit code 7", got)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	// A zombie keeps its directory in /proc until it has been waited for.
	script := `
for i in 1 2 3 4 5 6 7 8 9 10; do
	sh -c 'sh -c "exit 3" & echo $! >>/pids'
done
for p in $(cat /pids); do
	while [ -e /proc/$p ]; do :; done
done
echo reaped`
	wantOutput(t, runVM(t, shell(script), ""), "reaped\n")
}

func TestAppCannotSignalInitToDeath(t *testing.T) {
	wantOutput(t, runVM(t, shell("kill -TERM 1; kill -INT 1; kill -HUP 1; kill -QUIT 1; kill -ABRT 1; echo alive"), ""), "alive\n")
}

func TestCommandThatCannotRun(t *testing.T) {
	for _, c := range []struct {
		command string
		user    string
		code    uint8
		message string
	}{
		{"foo", "", 127, `exec: "foo": executable file not found in $PATH`},
		{"/no/such", "", 127, "exec /no/such: no such file or directory"},
		{"orphan-script", "", 127, "exec orphan-script: no such file or directory"},
		{"/etc/passwd", "", 126, "exec /etc/passwd: permission denied"},
		{"/etc", "", 126, "exec /etc: permission denied"},
		{"garbage", "", 126, "exec garbage: exec format error"},
		{"locked-for-others", "www", 126, "exec locked-for-others: permission denied"},
		{"/etc/passwd/x", "", 126, "exec /etc/passwd/x: not a directory"},
		{"true", "nobody-here", 125, "find user nobody-here: no such entry in the image"},
		{"true", "root:none", 125, "find group none: no such entry in the image"},
		{"true", "/no/such", 125, "find user /no/such: no such file or directory"},
		{"", "", 125, "check the start message: no command"},
	} {
		o := runVM(t, with(shell(""), func(s *proto.Start) {
			s.Args, s.User, s.Stdout, s.Stderr = []string{c.command}, c.user, false, false
		}), "")
		if o.failure == nil || o.failure.ExitCode != c.code || o.failure.Message != c.message {
			t.Errorf("%q as %q: %+v, want %d %s", c.command, c.user, o.failure, c.code, c.message)
		}
	}
}

func TestUserAndGroups(t *testing.T) {
	for _, c := range []struct {
		user, group string
		want        string
	}{
		{"", "", "0 0 [0 10] /root"},
		{"0", "", "0 0 [0 10] /root"},
		{"www", "", "33 44 [44 6 10] /srv"},
		{"33", "", "33 44 [44 6 10] /srv"},
		{"www:wheel", "", "33 10 [10] /srv"},
		{"www:wheel", "disk", "33 6 [6] /srv"},
		{"1000", "", "1000 0 [0] /"},
		{"1000:1001", "", "1000 1001 [1001] /"},
		{"1234", "", "77 78 [78] /digits"},
		{"/srv/owned", "", "4321 8765 [8765] /"},
		{"/srv/owned", "/srv/owned", "4321 8765 [8765] /"},
		{"www", "/srv/owned", "33 8765 [8765] /srv"},
	} {
		start := with(shell(`exec 3>&2 2>/dev/null # id speaks of users without a name
echo "$(id -u) $(id -g) [$(id -G)] $HOME"; exec 2>&3; cat </dev/stdin; echo >/dev/stdout`),
			func(s *proto.Start) { s.User, s.Group, s.Stdin = c.user, c.group, true })
		o := runVM(t, start, "input")
		t.Run(c.user+"+"+c.group, func(t *testing.T) { wantOutput(t, o, c.want+"\ninput\n") })
	}
	extra := with(shell("id -G"), func(s *proto.Start) { s.User, s.SupplementaryGIDs = "1000", []uint32{5, 1 << 20} })
	wantOutput(t, runVM(t, extra, ""), "0 5 1048576\n")
}

func TestEnvironment(t *testing.T) {
	defaults := "HOME=/root\nHOSTNAME=box\nPATH=" + defaultPath + "\n"
	start := with(shell(""), func(s *proto.Start) {
		s.Args, s.Hostname = []string{"busybox", "sh", "-c", "env | busybox sort | grep -v -e PWD -e SHLVL"}, "box"
	})
	wantOutput(t, runVM(t, start, ""), defaults)
	start.Env = []string{"HOME=/h", "PATH=/bin", "HOSTNAME=other", "EMPTY=", "A=b=c"}
	wantOutput(t, runVM(t, start, ""), "A=b=c\nEMPTY=\nHOME=/h\nHOSTNAME=other\nPATH=/bin\n")
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	start := with(shell(""), func(s *proto.Start) {
		s.Args = []string{"cat", "/proc/self/cmdline"}
	})
	wantOutput(t, runVM(t, start, ""), "cat\x00/proc/self/cmdline\x00")
	start.Args = []string{"./bin/sh", "-c", `echo "$0" "$@"`, "a b", "", "\xff"}
	wantOutput(t, runVM(t, start, ""), "a b  \xff\n")
}
