package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// The volumes of the probe below: /outer is a folder of the host's, beside which there is a file called secret, and
// /inner is its subfolder sub.
const (
	outer, inner = "/outer", "/inner"
	within       = inner + "/d"     // a folder as seen from the inner volume,
	movedTo      = outer + "/moved" // and where it goes, out of that
	movedFrom    = outer + "/sub/d"
)

// dotDot goes up from a folder that is moved out of the mount that it was entered by: first from the working
// directory, then along paths, while another thread moves it back and forth.
func dotDot() error {
	if err := os.Mkdir(within, 0o755); err != nil {
		return err
	}
	if err := os.Chdir(within); err != nil {
		return err
	}
	if err := os.Rename(movedFrom, movedTo); err != nil {
		return err
	}
	errs := []error{upFrom("")}
	if err := os.Rename(movedTo, movedFrom); err != nil {
		return err
	}
	stop, stopped := make(chan struct{}), make(chan error)
	go func() { stopped <- moveUntil(stop) }()
	const tries = 3000
	for range tries {
		errs = append(errs, upFrom(within+"/"))
	}
	close(stop)
	return errors.Join(append(errs, <-stopped)...)
}

func moveUntil(stop chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
			if err := errors.Join(os.Rename(movedFrom, movedTo), os.Rename(movedTo, movedFrom)); err != nil {
				return err
			}
		}
	}
}

// upFrom looks for the file at each height above a folder.
func upFrom(folder string) error {
	const heights = 5
	for n := range heights {
		path := folder + strings.Repeat("../", n+1) + "secret"
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err == nil {
			unix.Close(fd)
			return fmt.Errorf("open %s: %w", path, errPossible)
		}
	}
	return nil
}
