package label

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Lease is a label that no other live container has, until Close, and until the last process
// that has inherited File is gone.
type Lease struct {
	process, file string
	notice        string
	lock          *os.File
}

// Kind is what a label is for.
type Kind int

// The kinds: the processes of a container, and the monitor of a VM.
const (
	Container Kind = iota
	Monitor
)

// Request is what Acquire is asked for.
type Request struct {
	Kind    Kind
	Options Options
	// Required says that a policy demands SELinux: what is not enforced is refused.
	Required bool
	// Inherited are open files that a Monitor gets from its parent with the labels that they
	// have. Images are such files, too, which get the policy's label for files that all
	// containers may read and none may write, where the Monitor may not read them as they are.
	Inherited, Images []*os.File
}

// errRequired are the refusals where a policy demands SELinux.
var (
	errAbsent     = errors.New("the policy demands SELinux, which is not active on this host: boot with security=selinux selinux=1 and a policy loaded (docs/selinux.md), or run it on a host that has it")
	errPermissive = errors.New("the policy demands SELinux, which is permissive on this host: setenforce 1, and SELINUX=enforcing in /etc/selinux/config")
)

// Acquire gives a label. dir is the allocator's, see StateDir. Without SELinux, or with one
// whose policy has no types for this, and where nothing is Required, the Lease has no labels, and
// its Notice says why.
func Acquire(dir string, r Request) (*Lease, error) {
	state := Host()
	if r.Required {
		if err := r.Options.CheckRequired(); err != nil {
			return nil, err
		}
		switch state {
		case Absent:
			return nil, errAbsent
		case Permissive:
			return nil, errPermissive
		}
	}
	if r.Options.Disable {
		return &Lease{notice: "SELinux labels are disabled (--security-opt label=disable)"}, nil
	}
	if state == Absent {
		if r.Options != (Options{}) {
			return nil, errors.New("--security-opt label=...: SELinux is not active on this host: leave it out")
		}
		return &Lease{notice: absent[r.Kind]}, nil
	}
	l := &Lease{}
	if state == Permissive {
		l.notice = "SELinux is permissive on this host: it logs what the labels forbid, and allows it (setenforce 1)"
	}
	err := l.choose(dir, r)
	var why obstacle
	switch {
	case err == nil:
		return l, nil
	case r.Required || r.Options != (Options{}) || !errors.As(err, &why):
		return nil, err
	}
	return &Lease{notice: "runs without SELinux labels of its own: " + err.Error()}, nil
}

// absent are the lines about a host without SELinux. A VM has lost nothing there that it is
// known for, and its user is told nothing.
var absent = [...]string{
	Container: "SELinux is not active on this host: nothing but namespaces, seccomp and capabilities holds the container",
	Monitor:   "",
}

// choose picks the types of the loaded policy, leases a level, and sees to it that
// processes can work with both.
func (l *Lease) choose(dir string, r Request) error {
	c, err := choose(r.Kind)
	if err != nil {
		return err
	}
	if err := l.fill(dir, c, r); err != nil {
		return err
	}
	if err := l.prepare(c.apply(r.Options).shared, r); err != nil {
		l.Close()
		return err
	}
	return nil
}

// prepare asks whether the policy lets a process with the label start, and have what it inherits.
func (l *Lease) prepare(shared Context, r Request) error {
	if err := l.startable(r.Kind); err != nil {
		return err
	}
	for _, f := range r.Inherited {
		if err := l.inheritable(f); err != nil {
			return err
		}
	}
	for _, f := range r.Images {
		if l.inheritable(f) == nil {
			continue
		}
		if err := setLabel(f, shared.String()); err != nil {
			return obstacle(err.Error() + ": the monitor may not read it as it is")
		}
		if err := l.inheritable(f); err != nil {
			return err
		}
	}
	return nil
}

// fill leases a level and makes the labels.
func (l *Lease) fill(dir string, c candidate, r Request) error {
	level, lock, err := lease(dir, r.Options.Level)
	if err != nil {
		return fmt.Errorf("SELinux categories: %w", err)
	}
	c = c.apply(r.Options)
	c.process.Level, c.file.Level = level, level
	if err := c.check(r.Kind); err != nil {
		lock.Close()
		return err
	}
	l.lock, l.process, l.file = lock, c.process.String(), c.file.String()
	return nil
}

// lease takes the level that is wanted, or any. A level that is no pair is the user's own
// affair: nobody keeps it for anyone.
func lease(dir, wanted string) (level string, lock *os.File, err error) {
	pool, err := hostPool(dir)
	if err != nil {
		return "", nil, err
	}
	if wanted == "" {
		pair, f, err := pool.next()
		return pair.Level(), f, err
	}
	pair, ok := parsePair(wanted)
	if !ok {
		f, err := pool.open() // and nothing of it
		return wanted, f, err
	}
	f, err := pool.share(pair)
	return pair.Level(), f, err
}

// StateDir is the allocator's directory: one for all of the host.
const StateDir = "/var/lib/clearrun/label"

// hostPool opens the pool of who runs this. Root makes that of the users as well: until it
// has, each user has one of its own, in dir's stead.
func hostPool(dir string) (Pool, error) {
	if os.Geteuid() != 0 {
		if p := userPool(dir); p.usable() {
			return p, nil
		}
		own, err := userDir()
		if err == nil {
			err = os.MkdirAll(own, 0o700)
		}
		return userPool(own), err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Pool{}, err
	}
	f, err := userPool(dir).open()
	if err != nil {
		return Pool{}, err
	}
	return rootPool(dir), f.Close()
}

func (p Pool) usable() bool {
	f, err := os.OpenFile(p.Path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// userDir is a user's place for state (XDG Base Directory Specification).
func userDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "clearrun", "label"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "clearrun", "label"), err
}

// ProcessLabel is for the processes of the container; "": none.
func (l *Lease) ProcessLabel() string { return l.process }

// FileLabel is for files that are its own; "": none.
func (l *Lease) FileLabel() string { return l.file }

// Notice is a line for the user: what SELinux does not do for this run; "": all that it can.
func (l *Lease) Notice() string { return l.notice }

// LabelFile gives an open file the label for files that are the holder's own.
func (l *Lease) LabelFile(f *os.File) error {
	if l.file == "" {
		return nil
	}
	return setLabel(f, l.file)
}

// File holds the lease: a process that inherits it keeps the pair from others until it
// ends. It is nil without labels.
func (l *Lease) File() *os.File { return l.lock }

// Close gives up this process's hold on the lease. Close is idempotent.
func (l *Lease) Close() {
	if l.lock != nil {
		l.lock.Close()
		l.lock = nil
	}
}
