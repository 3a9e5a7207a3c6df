package main

import (
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/clearrun/clearrun/attach"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// prepareTerminal puts the user's terminal into raw mode, so that every key
// reaches the app's, and tells the run how large it is.
func prepareTerminal(o *attach.Streams, interactive bool, io stdio) (restore func(), err error) {
	o.WindowSize = func() (rows, cols uint16) {
		w, h, err := term.GetSize(int(io.out.Fd()))
		if err != nil {
			return defaultRows, defaultCols
		}
		return uint16(h), uint16(w)
	}
	if !interactive {
		return func() {}, nil
	}
	state, err := term.MakeRaw(int(io.in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	return func() { _ = term.Restore(int(io.in.Fd()), state) }, nil
}

// The size of a terminal that does not tell it.
const (
	defaultRows = 24
	defaultCols = 80
)
