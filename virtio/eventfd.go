package virtio

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// eventSize is the size of every read and write of an eventfd (eventfd(2)).
const eventSize = 8

// newEventFD makes a nonblocking eventfd, so that Go's poller waits for it.
func newEventFD(name string) (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Kick adds one to an eventfd: what KVM's ioeventfd does for the driver.
func Kick(eventfd *os.File) error {
	var one [eventSize]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	if _, err := eventfd.Write(one[:]); err != nil {
		return fmt.Errorf("kick: %w", err)
	}
	return nil
}
