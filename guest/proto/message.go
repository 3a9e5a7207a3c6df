package proto

// Ports that the guest dials on the host (vsock context ID 2).
const (
	ControlPort = 1024
	StdinPort   = 1025
	StdoutPort  = 1026
	StderrPort  = 1027
)

// Exit codes of a Failure, as docker run and the shell use them.
const (
	ExitFailure       = 125 // clearrun's own failure
	ExitNotExecutable = 126 // the command was found and cannot be executed
	ExitNotFound      = 127 // there is no such command
)

// Message is one of Start, Signal, Resize, Started, Exit and Failure, always as a
// pointer. The set is closed: nothing outside this package implements it.
type Message interface {
	kind() byte
	fields(fieldVisitor)
}

// The kind byte of each message.
const (
	kindStart byte = iota + 1
	kindSignal
	kindResize
	kindStarted
	kindExit
	kindFailure
)

// newMessage returns an empty message of the given kind, or nil.
func newMessage(kind byte) Message {
	switch kind {
	case kindStart:
		return new(Start)
	case kindSignal:
		return new(Signal)
	case kindResize:
		return new(Resize)
	case kindStarted:
		return new(Started)
	case kindExit:
		return new(Exit)
	case kindFailure:
		return new(Failure)
	}
	return nil
}

// Start tells the guest what to run, and how. It is the host's first message.
type Start struct {
	// Args is the command and its arguments. Args[0] is looked up in the PATH of
	// Env, inside the app's root, unless it holds a slash.
	Args []string
	// Env is the environment as KEY=value. The guest adds HOME, PATH, HOSTNAME and, with
	// TTY, TERM where they are missing.
	Env []string
	// Dir is the working directory, absolute; it is created if missing. Empty: "/".
	Dir string

	// User and Group choose who the app runs as. User is empty (root), a number,
	// a name in the image's /etc/passwd, an absolute path in the image (the
	// owner of that file, as in appc), or any of these with ":group" behind it.
	// Group is a number, a name in /etc/group or a path; if set, it wins.
	User, Group string
	// SupplementaryGIDs are added to the groups that /etc/group gives the user.
	SupplementaryGIDs []uint32

	// Hostname is set before the app starts. Empty: "localhost".
	Hostname string
	// Files are written into the app's root, replacing what is there. Where neither
	// they nor the image have /etc/hostname and /etc/hosts, the guest makes them.
	Files []File

	// TTY gives the app a pseudo-terminal of Rows x Cols in place of pipes;
	// its input comes from StdinPort, its output goes to StdoutPort.
	TTY        bool
	Rows, Cols uint16
	// Stdin, Stdout and Stderr say which streams the guest dials. What is not
	// dialled is /dev/null. With TTY, Stdout must be true and Stderr false.
	Stdin, Stdout, Stderr bool

	// Capabilities is the bounding set: all that the app, or anything it
	// executes, can ever hold. Root holds it from the start; others hold Ambient.
	Capabilities CapabilitySet
	// Ambient is what a user other than root keeps. Part of Capabilities.
	Ambient CapabilitySet
	// NoNewPrivileges makes set-user-ID bits and file capabilities void.
	NoNewPrivileges bool
	// Rlimits are set for the app alone.
	Rlimits []Rlimit
	// Umask is the app's file mode creation mask; mostly 0o022.
	Umask uint32

	// ReadOnlyRoot makes the root read-only, once Files and Dir are in place.
	// /dev and /dev/shm stay writable.
	ReadOnlyRoot bool
	// OverlaySize bounds the writable layer, in bytes. 0: half of the VM's memory.
	OverlaySize uint64
	// MaskedPaths are hidden from the app and ReadOnlyPaths cannot be written,
	// as in the OCI runtime spec (linux.maskedPaths, linux.readonlyPaths). Paths
	// that do not exist are passed over.
	MaskedPaths, ReadOnlyPaths []string

	// Volumes are mounts that PID 1 of a container has inherited, in this order.
	Volumes []Volume
	// HostNetwork says that the network is the host's, and its to set up.
	HostNetwork bool

	// Seccomp is the filter for the app and all that it starts, as the kernel takes it:
	// an array of struct sock_filter (linux/filter.h). Empty: there is none.
	Seccomp string

	// ProcessLabel and MountLabel are SELinux labels for the app with PID 1, and for all that is
	// mounted for them alone. Empty: they stay as they are. With a ProcessLabel, PID 1 has
	// inherited one more descriptor, behind the volumes, that it keeps open to its end.
	ProcessLabel, MountLabel string

	// IDs says that the container has a user namespace, and how many user and group IDs there
	// are in it, from 0 on. 1: root alone, whose supplementary groups cannot be changed. 0: the
	// IDs are the host's.
	IDs uint32
	// PrivateImage says that the root image is this container's own copy, writable as it is.
	PrivateImage bool

	// WallClock is the time of day in nanoseconds since 1970. 0: leave the clock.
	WallClock int64
}

func (*Start) kind() byte { return kindStart }

func (m *Start) fields(v fieldVisitor) {
	v.strings(&m.Args)
	v.strings(&m.Env)
	v.string(&m.Dir)
	v.string(&m.User)
	v.string(&m.Group)
	v.uint32s(&m.SupplementaryGIDs)
	v.string(&m.Hostname)
	visitList(v, &m.Files, fileMinSize)
	v.bool(&m.TTY)
	v.uint16(&m.Rows)
	v.uint16(&m.Cols)
	v.bool(&m.Stdin)
	v.bool(&m.Stdout)
	v.bool(&m.Stderr)
	v.uint64((*uint64)(&m.Capabilities))
	v.uint64((*uint64)(&m.Ambient))
	v.bool(&m.NoNewPrivileges)
	visitList(v, &m.Rlimits, rlimitSize)
	v.uint32(&m.Umask)
	v.bool(&m.ReadOnlyRoot)
	v.uint64(&m.OverlaySize)
	v.strings(&m.MaskedPaths)
	v.strings(&m.ReadOnlyPaths)
	visitList(v, &m.Volumes, volumeMinSize)
	v.bool(&m.HostNetwork)
	v.string(&m.Seccomp)
	v.string(&m.ProcessLabel)
	v.string(&m.MountLabel)
	v.uint32(&m.IDs)
	v.bool(&m.PrivateImage)
	v.int64(&m.WallClock)
}

// File is a small file that the host puts into the app's root, such as
// /etc/resolv.conf. Missing parent directories are created.
type File struct {
	Path    string // absolute, in the app's root
	Content string
	Mode    uint32 // permission bits
}

// fileMinSize is the encoded size of an empty File.
const fileMinSize = 4 + 4 + 4

func (f *File) fields(v fieldVisitor) {
	v.string(&f.Path)
	v.string(&f.Content)
	v.uint32(&f.Mode)
}

// Volume is a directory or file of the host's, for the app to find at Target.
type Volume struct {
	Target string // absolute, in the app's root
	Name   string // what the user calls it, for messages
}

// volumeMinSize is the encoded size of an empty Volume.
const volumeMinSize = 2 * minStringSize

func (m *Volume) fields(v fieldVisitor) {
	v.string(&m.Target)
	v.string(&m.Name)
}

// Rlimit is one resource limit; Resource is Linux's number for it
// (RLIMIT_NOFILE and so on).
type Rlimit struct {
	Resource   uint32
	Soft, Hard uint64
}

// rlimitSize is the encoded size of an Rlimit.
const rlimitSize = 4 + 8 + 8

func (r *Rlimit) fields(v fieldVisitor) {
	v.uint32(&r.Resource)
	v.uint64(&r.Soft)
	v.uint64(&r.Hard)
}

// CapabilitySet is a set of Linux capabilities: bit n stands for capability n of
// linux/capability.h.
type CapabilitySet uint64

// AllCapabilities holds every capability that the guest's kernel knows.
const AllCapabilities = ^CapabilitySet(0)

// Has reports whether capability n is in the set.
func (s CapabilitySet) Has(n int) bool {
	return n >= 0 && n < 64 && s>>n&1 == 1
}

// With returns the set with capability n added; n is 0-63.
func (s CapabilitySet) With(n int) CapabilitySet {
	return s | 1<<n
}

// Signal asks for a signal to the app's main process.
type Signal struct {
	Signal uint32
}

func (*Signal) kind() byte              { return kindSignal }
func (m *Signal) fields(v fieldVisitor) { v.uint32(&m.Signal) }

// Resize gives the app's terminal a new size. Without a terminal it does nothing.
type Resize struct {
	Rows, Cols uint16
}

func (*Resize) kind() byte { return kindResize }

func (m *Resize) fields(v fieldVisitor) {
	v.uint16(&m.Rows)
	v.uint16(&m.Cols)
}

// Started says that the app has been executed. PID is its number in the guest.
type Started struct {
	PID uint32
}

func (*Started) kind() byte              { return kindStarted }
func (m *Started) fields(v fieldVisitor) { v.uint32(&m.PID) }

// Exit says how the app's main process ended. The guest sends it after the last
// byte of the output streams.
type Exit struct {
	Code      uint8 // the exit status, if Signal is 0
	Signal    uint8 // the signal that killed it, or 0
	OOMKilled bool  // the guest's kernel killed a process for want of memory
}

func (*Exit) kind() byte { return kindExit }

func (m *Exit) fields(v fieldVisitor) {
	v.uint8(&m.Code)
	v.uint8(&m.Signal)
	v.bool(&m.OOMKilled)
}

// Failure says that the app could not be run.
type Failure struct {
	Stage    string // what the guest was doing, such as "mount" or "exec"
	Message  string // for the user
	ExitCode uint8  // ExitFailure, ExitNotExecutable or ExitNotFound
}

func (*Failure) kind() byte { return kindFailure }

func (m *Failure) fields(v fieldVisitor) {
	v.string(&m.Stage)
	v.string(&m.Message)
	v.uint8(&m.ExitCode)
}
