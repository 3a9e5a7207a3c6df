package vm

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// pty is a terminal of the host: where a user sits, and where programs run.
type pty struct {
	user, program *os.File
	screen        transcript   // what the user sees
	left          unix.Termios // the settings when the program has ended
}

func openPTY(t *testing.T) *pty {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{user: user}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if p.program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.user.Close() })
	return p
}

// run runs cmd on the terminal to its end, while talk is what the user does.
func (p *pty) run(t *testing.T, cmd *exec.Cmd, talk func()) int {
	t.Helper()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.program, p.program, p.program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // the user's eyes, until no program has the terminal open
		buf := make([]byte, 4096)
		for {
			n, err := p.user.Read(buf)
			p.screen.Write(buf[:n])
			if err != nil {
				p.screen.close()
				return
			}
		}
	}()
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		p.left = p.settings(t)
		p.program.Close()
		ended <- err
	}()
	defer func() { _ = cmd.Process.Kill() }() // if the test gave up
	talk()
	return exitCode(t, <-ended, cmd)
}

func (p *pty) expect(t *testing.T, want string) {
	t.Helper()
	if !p.screen.await(want) {
		t.Fatalf("the screen does not show %q, but %q", want, p.screen.String())
	}
}

func (p *pty) enter(t *testing.T, keys string) {
	t.Helper()
	if _, err := p.user.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

func (p *pty) resize(t *testing.T, rows, cols uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(p.user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		t.Fatal(err)
	}
}

// settings are the terminal's, such as echo and line mode.
func (p *pty) settings(t *testing.T) unix.Termios {
	s, err := unix.IoctlGetTermios(int(p.user.Fd()), unix.TCGETS)
	if err != nil {
		t.Error(err)
		return unix.Termios{}
	}
	return *s
}

// ctrlC is what the key sends.
const ctrlC = "\x03"

// TestTerminal is a dialogue with the app over a terminal of the host, up to exit
// code 255.
func TestTerminal(t *testing.T) {
	needVM(t)
	takeSlot(t)
	p := openPTY(t)
	p.resize(t, 31, 97)
	before := p.settings(t)
	code := p.run(t, clearrun(t, shared.place, "-t", "-i", shared.probe, "--", "tty"), func() {
		for fd := range 3 {
			p.expect(t, fmt.Sprintf("isatty %d: true\r\n", fd))
		}
		p.expect(t, "TERM: xterm\r\n")
		p.expect(t, "size: 31 rows, 97 columns\r\n")
		p.resize(t, 40, 120)
		p.expect(t, "resized: 40 rows, 120 columns\r\n")
		p.enter(t, "hello\r")
		p.expect(t, "hello\r\n") // the echo
		p.expect(t, `line: "hello\n"`)
		p.enter(t, ctrlC)
		p.expect(t, "interrupted\r\n")
		p.expect(t, "raw\r")
		p.enter(t, ctrlC)
		p.expect(t, "byte: 0x03\r")
	})
	if code != 255 {
		t.Errorf("exit code %d, want 255\n%s", code, p.screen.String())
	}
	if p.left != before {
		t.Errorf("the terminal was left as %+v, it was %+v", p.left, before)
	}
}
