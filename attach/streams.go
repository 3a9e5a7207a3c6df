package attach

import (
	"errors"
	"io"
	"net"
	"os"
)

// Streams are the user's ends of a run.
type Streams struct {
	// Stdin is read only if the pod's app asks for it. A Read that blocks when
	// the app ends is left behind.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Signals are passed to the app, window changes as a new terminal size.
	Signals <-chan os.Signal
	// WindowSize tells the terminal's size in characters; needed with a TTY.
	WindowSize func() (rows, cols uint16)
}

// UnixConn takes over a socket descriptor. It must be of the Unix family.
func UnixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a Unix socket")
	}
	return u, nil
}
