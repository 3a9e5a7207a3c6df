package main

import (
	"bufio"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// terminal is a Start that runs a script on a terminal of 25 x 100.
func terminal(script string) *proto.Start {
	return with(shell(script), func(s *proto.Start) {
		s.TTY, s.Rows, s.Cols, s.Stdin, s.Stderr = true, 25, 100, true, false
	})
}

// wantLine reads one line of a terminal's output.
func wantLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if line, err := r.ReadString('\n'); err != nil || line != want+"\r\n" {
		t.Fatalf("the terminal shows %q (%v), want %q", line, err, want)
	}
}

func TestTerminal(t *testing.T) {
	for _, user := range []string{"", "www"} {
		v := bootVM(t, with(terminal(`
test -t 0; test -t 1; test -t 2
tty; stty size; echo $TERM
stat -c %u /dev/console
echo to the console >/dev/console
echo to the terminal >/dev/tty
read line; echo "<$line>"
exit 5`), func(s *proto.Start) { s.User = user }))
		v.started()
		screen := bufio.NewReader(v.stdout)
		wantLine(t, screen, "/dev/pts/0")
		wantLine(t, screen, "25 100")
		wantLine(t, screen, "xterm")
		wantLine(t, screen, map[string]string{"": "0", "www": "33"}[user])
		wantLine(t, screen, "to the console")
		wantLine(t, screen, "to the terminal")
		v.stdin.Write([]byte("typed\r"))
		wantLine(t, screen, "typed") // the echo
		wantLine(t, screen, "<typed>")
		if rest, err := screen.ReadString('\n'); rest != "" || err == nil {
			t.Errorf("%q comes after the end", rest)
		}
		if got, ok := v.end().(*proto.Exit); !ok || *got != (proto.Exit{Code: 5}) {
			t.Errorf("last message %+v, want exit code 5", got)
		}
	}
}

func TestTerminalIsResized(t *testing.T) {
	v := bootVM(t, terminal("trap 'stty size; exit 0' WINCH; echo ready; sleep 1000 & wait"))
	v.started()
	screen := bufio.NewReader(v.stdout)
	wantLine(t, screen, "ready")
	v.send(&proto.Resize{Rows: 50, Cols: 132})
	wantLine(t, screen, "50 132")
	if got, ok := v.end().(*proto.Exit); !ok || *got != (proto.Exit{}) {
		t.Errorf("last message %+v, want exit code 0", got)
	}
}

func TestControlCInterrupts(t *testing.T) {
	v := bootVM(t, terminal("echo ready; exec cat"))
	v.started()
	wantLine(t, bufio.NewReader(v.stdout), "ready")
	v.stdin.Write([]byte{3})
	if got, ok := v.end().(*proto.Exit); !ok || got.Signal != uint8(unix.SIGINT) {
		t.Errorf("last message %+v, want death by SIGINT", got)
	}
}

func TestEndOfInputDoesNotHangUpTheTerminal(t *testing.T) {
	v := bootVM(t, terminal("read a; read b; echo got $a $b"))
	v.started()
	screen := bufio.NewReader(v.stdout)
	v.stdin.Write([]byte("x\ry\r"))
	v.stdin.CloseWrite()
	wantLine(t, screen, "x")
	wantLine(t, screen, "y")
	wantLine(t, screen, "got x y")
	if got, ok := v.end().(*proto.Exit); !ok || *got != (proto.Exit{}) {
		t.Errorf("last message %+v, want exit code 0", got)
	}
}

func TestTerminalWithoutReaderIsRefused(t *testing.T) {
	start := with(terminal("true"), func(s *proto.Start) { s.Stdout, s.Stdin = false, false })
	if o := runVM(t, start, ""); o.failure == nil || o.failure.Stage != "start" {
		t.Errorf("%+v, want a failure", o)
	}
}
