package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// tryReach has A's escaped process reach for single objects, the way to which is open to it:
// files in a folder that it may search or that somebody left it open, a keyring by its number, a socket by its name.
func tryReach(a, b *container, mode string, works bool) error {
	for _, r := range []reach{
		{"opens the file of a shared volume", "/var/tools", "", "open", "guest", true},
		{"opens what B wrote to a shared volume", "/var/shared", "", "open", "B", true},
		{"opens the host's file there", "/var/shared", "", "open", "secret", works},
		{"reads its own file", "/proc", a.root() + "/own", inherit, "", true},
		{"reads B's file", "/proc", b.root() + "/own", inherit, "", works},
		{"reads its own volume's file", "/proc", "/var/volume-A/file", inherit, "", true},
		{"reads the file of B's volume", "/proc", "/var/volume-B/file", inherit, "", works},
		{"connects to its own socket", "/proc", "", "connect", a.socket(), true},
		{"connects to B's socket", "/proc", "", "connect", b.socket(), works},
	} {
		if err := a.try(r, mode); err != nil {
			return err
		}
	}
	return nil
}

// tryKeyrings is about those of root's containers, which root can find.
func tryKeyrings(a, b *container, mode string, works bool) error {
	keyringA, err := a.keyring()
	if err != nil {
		return err
	}
	keyringB, err := b.keyring()
	if err != nil {
		return err
	}
	return errors.Join(a.try(reach{"reads its own keyring", "/proc", "", "read a keyring", keyringA, true}, mode),
		a.try(reach{"reads B's keyring", "/proc", "", "read a keyring", keyringB, works}, mode))
}

// reach is an attempt of a container's escaped process, in a folder, with a file as its standard input.
type reach struct {
	what, dir, inherited, attempt, argument string
	works                                   bool
}

func (c *container) try(r reach, mode string) error {
	var inherited *os.File
	if r.inherited != "" {
		var err error
		if inherited, err = os.Open(r.inherited); err != nil {
			return err
		}
		defer inherited.Close()
	}
	done, err := c.escaped(r.dir, inherited, c.program, "probe", r.attempt, r.argument)
	if err != nil {
		return fmt.Errorf("%s: %w", r.what, err)
	}
	inside.Report(mode+": "+c.name+"'s process "+r.what, done == r.works, fmt.Sprintf("succeeded: %v, want %v", done, r.works))
	return nil
}

// inherit is a probe of what a process may have that somebody else has opened.
const inherit = "read what it inherits"

// socket is an abstract address, which the container's app listens on in the host's network.
func (c *container) socket() string { return "@" + c.name }

// keyring finds the session keyring that PID 1 made for the container, by its label: the
// kernel lists all keyrings of a user in /proc/keys (keyrings(7)), with the number first, in hex.
func (c *container) keyring() (number string, err error) {
	list, err := os.ReadFile("/proc/keys")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[7] != "keyring" || fields[8] != "clearrun:" {
			continue
		}
		id, err := strconv.ParseUint(fields[0], 16, 31)
		if err != nil {
			return "", err
		}
		label, err := unix.KeyctlString(unix.KEYCTL_GET_SECURITY, int(id))
		if err != nil {
			return "", fmt.Errorf("label of keyring %s: %w", fields[0], err)
		}
		if label == c.label {
			return strconv.Itoa(int(id)), nil
		}
	}
	return "", errors.New("no keyring called clearrun has the label " + c.label + ":\n" + string(list))
}
