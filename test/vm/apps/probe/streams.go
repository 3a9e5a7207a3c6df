package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// argument gives args[i] as a number, 0 if there is none.
func argument(args []string, i int) (int, error) {
	if i >= len(args) {
		return 0, nil
	}
	return strconv.Atoi(args[i])
}

// exit writes a line to each stream and ends with the code in args[0].
func exit(args []string) error {
	code, err := argument(args, 0)
	if err != nil {
		return err
	}
	fmt.Println("to stdout")
	fmt.Fprintln(os.Stderr, "to stderr")
	os.Exit(code)
	return nil
}

// die sends itself the signal in args[0].
func die(args []string) error {
	n, err := argument(args, 0)
	if err != nil {
		return err
	}
	fmt.Println("to stdout")
	// Go would turn the signal into its own; the default action is what is asked for.
	signal.Reset(syscall.Signal(n))
	if err := unix.Kill(os.Getpid(), unix.Signal(n)); err != nil {
		return err
	}
	select {}
}

// catBuffer is how much cat reads and writes at a time.
const catBuffer = 1 << 20

// cat copies stdin to stdout until its end, and says on stderr how much it was.
func cat([]string) error {
	fmt.Fprintln(os.Stderr, "cat begins")
	buf := make([]byte, catBuffer)
	total := 0
	for {
		n, err := io.ReadFull(os.Stdin, buf)
		if _, err := os.Stdout.Write(buf[:n]); err != nil {
			return err
		}
		total += n
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			fmt.Fprintln(os.Stderr, "cat ends after", total)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// signals prints the name of each signal it gets. It ends on the one whose number is
// args[0], with the code in args[1]; with neither, never.
func signals(args []string) error {
	last, err := argument(args, 0)
	if err != nil {
		return err
	}
	code, err := argument(args, 1)
	if err != nil {
		return err
	}
	received := make(chan os.Signal, 16)
	signal.Notify(received, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	fmt.Println("ready")
	for sig := range received {
		n := sig.(syscall.Signal)
		fmt.Println(unix.SignalName(n))
		if int(n) == last {
			os.Exit(code)
		}
	}
	return nil
}

// powerOff ends the VM under the app.
func powerOff([]string) error {
	fmt.Println("power off")
	_ = unix.IoctlSetInt(1, unix.TCSBRK, 1) // if it is a terminal: wait until all is sent
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// terminal plays a dialogue over the terminal that it should have: its size, a
// resize, Ctrl-C as a signal and as a byte. It ends with code 255.
func terminal([]string) error {
	resized := make(chan os.Signal, 1)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	signal.Notify(interrupted, unix.SIGINT)
	for fd := range 3 {
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		fmt.Printf("isatty %d: %v\n", fd, err == nil)
	}
	fmt.Println("TERM:", os.Getenv("TERM"))
	if err := printSize("size"); err != nil {
		return err
	}
	<-resized
	if err := printSize("resized"); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	fmt.Printf("line: %q\n", line)
	<-interrupted
	fmt.Println("interrupted")
	if err := makeRaw(0); err != nil {
		return err
	}
	fmt.Println("raw")
	b, err := in.ReadByte()
	if err != nil {
		return err
	}
	fmt.Printf("byte: %#02x\n", b)
	os.Exit(255)
	return nil
}

func printSize(what string) error {
	size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d rows, %d columns\n", what, size.Row, size.Col)
	return nil
}

// makeRaw lets every key through as a byte.
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ISIG | unix.ICANON | unix.ECHO
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
