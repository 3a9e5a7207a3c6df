package label

import (
	"fmt"

	selinux "github.com/opencontainers/selinux/go-selinux"
)

// WithSockets has open, which is to make sockets for the holder's processes, make them with their
// label. The caller has locked its thread.
func (l *Lease) WithSockets(open func() error) error {
	if l.process == "" {
		return open()
	}
	if err := selinux.SetSocketLabel(l.process); err != nil {
		return fmt.Errorf("label sockets: %w", err)
	}
	defer func() { _ = selinux.SetSocketLabel("") }()
	return open()
}

// Start has start, which is to start a process, start it with the label. The caller has
// locked its thread.
func (l *Lease) Start(start func() error) error {
	if l.process == "" {
		return start()
	}
	if err := selinux.SetExecLabel(l.process); err != nil {
		return err
	}
	defer func() { _ = selinux.SetExecLabel("") }()
	return start()
}
