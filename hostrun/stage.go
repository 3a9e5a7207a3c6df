package hostrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// The arguments that make clearrun the stage, which is no command: it has no more rights than its
// user gets by unshare(1), and does nothing without the socket that it inherits.
const (
	stageName     = "clearrun-stage"
	stageUnmapped = "unmapped" // it waits for its IDs, and executes itself as
	stageMapped   = "mapped"   // root of its user namespace
)

// Descriptors of the stage: the socket to clearrun, and from stageFiles on the root image, PID 1's
// executable, the container's sockets, and the lease of a label, if there is one.
const (
	stageSocket = 3 + iota
	stageFiles
)

// stageGo says that the IDs are there.
const stageGo = 1

// stageConfig is what clearrun tells the stage, as JSON.
type stageConfig struct {
	Parent  int     // clearrun
	Flags   uintptr // the namespaces of PID 1
	IDs     uint32
	Root    *rootfs.Info
	Overlay uint64 // room that the app has beside the image, in bytes
	Label   string // SELinux's, of the root's files
	Lease   bool   // that of the label follows the sockets
	Volumes []pod.Volume
	Try     bool // only whether there can be a container
}

// stageResult is its answer.
type stageResult struct {
	PID   int
	Error string
}

// Stage does the work of the stage of a rootless run, if this process was started for that: then
// done is true, and the process is to exit with code. A program that calls Run calls Stage first.
func Stage(args []string) (code int, done bool) {
	if len(args) != 2 || args[0] != stageName {
		return 0, false
	}
	socket := os.NewFile(stageSocket, "stage")
	if args[1] == stageUnmapped {
		var b [1]byte
		if _, err := socket.Read(b[:]); err != nil || b[0] != stageGo {
			return ExitFailure, true // clearrun is gone, or has no IDs for this
		}
		// The IDs bring no capabilities, but to execute a program as root does.
		err := unix.Exec("/proc/self/exe", []string{stageName, stageMapped}, nil)
		fmt.Fprintln(os.Stderr, "execute the stage again:", err)
		return ExitFailure, true
	}
	var result stageResult
	var err error
	if result.PID, err = prepare(socket); err != nil {
		result.Error = err.Error()
	}
	if json.NewEncoder(socket).Encode(result) != nil {
		return ExitFailure, true
	}
	return 0, true
}

// prepare prepares the container that clearrun asks for, and starts PID 1 as clearrun's child.
func prepare(socket *os.File) (pid int, err error) {
	runtime.LockOSThread() // whose death signal this process gets
	if err := unix.CloseRange(stageSocket, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 0, err
	}
	var config stageConfig
	if err := json.NewDecoder(socket).Decode(&config); err != nil {
		return 0, err
	}
	// Its execution has cleared it, and clearrun may have ended before it was set.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return 0, err
	}
	if unix.Getppid() != config.Parent {
		return 0, errors.New("clearrun has ended")
	}
	if config.Try {
		fs, root, err := config.mountRoot()
		if err == nil {
			err = errors.Join(unix.Close(fs), root.Close())
		}
		return 0, err
	}
	image := os.NewFile(stageFiles, "root image")
	root, err := config.unpack(image)
	if err != nil {
		return 0, fmt.Errorf("root image: %w", err)
	}
	devices, err := openDevices()
	if err != nil {
		return 0, err
	}
	volumes, err := openVolumes(config.Volumes, config.Label)
	if err != nil {
		return 0, err
	}
	return config.startInit(slices.Concat([]*os.File{root}, devices, volumes))
}

// unpack brings the image's files into a tmpfs, which no other process ever sees: a user may mount
// no EROFS.
func (s *stageConfig) unpack(image *os.File) (*os.File, error) {
	fs, root, err := s.mountRoot()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	err = rootfs.Unpack(context.Background(), image, *s.Root, root, rootfs.Unpacking{IDs: s.IDs})
	if err == nil {
		err = s.bound(fs, int(root.Fd()))
	}
	if errors.Is(err, unix.ENOSPC) {
		err = fmt.Errorf("%w: unpacked it takes more than half of this host's memory: run it as root, or at tier vm (--vm)", err)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// mountRoot gives an empty tmpfs, attached nowhere, and the context in which it was made.
func (s *stageConfig) mountRoot() (fs int, root *os.File, err error) {
	fail := func(err error) (int, *os.File, error) {
		if fs >= 0 {
			unix.Close(fs)
		}
		return -1, nil, fmt.Errorf("this host lets users mount nothing in a user namespace, not even a tmpfs (%w): "+
			"allow it (kernel.apparmor_restrict_unprivileged_userns=0 by sysctl, where there is that), or ask for tier vm (--vm)", err)
	}
	if fs, err = unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC); err != nil {
		return fail(err)
	}
	options := [][2]string{{"mode", "0755"}}
	if s.Label != "" {
		options = append(options, [2]string{"context", s.Label})
	}
	for _, o := range options {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return fail(fmt.Errorf("%s=%s: %w", o[0], o[1], err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fail(err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return fail(err)
	}
	return fs, os.NewFile(uintptr(fd), "root"), nil
}

// bound gives the app as much room as a writable layer has, beside what is there.
func (s *stageConfig) bound(fs, mount int) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(mount, &st); err != nil {
		return err
	}
	size := (st.Blocks-st.Bfree)*uint64(st.Bsize) + s.Overlay
	err := unix.FsconfigSetString(fs, "size", strconv.FormatUint(size, 10))
	if err == nil {
		err = unix.FsconfigReconfigure(fs)
	}
	if err != nil {
		return fmt.Errorf("bound the root's size: %w", err)
	}
	return nil
}

// startInit starts PID 1 with its sockets, the mounts, and the lease. No other group of the user's
// goes with it, where that can be.
func (s *stageConfig) startInit(mounts []*os.File) (pid int, err error) {
	exe := stageFiles + 1
	files := []uintptr{0, 1, 2}
	for i := range ports {
		files = append(files, uintptr(exe+1+i))
	}
	for _, f := range mounts {
		files = append(files, f.Fd())
	}
	if s.Lease {
		files = append(files, uintptr(exe+1+len(ports)))
	}
	high, err := unix.FcntlInt(uintptr(exe), unix.F_DUPFD_CLOEXEC, initFD+len(files))
	if err != nil {
		return 0, err
	}
	pid, err = syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", high), []string{initName}, &syscall.ProcAttr{
		Dir: "/", Env: []string{initTier + trust.TierNS.String()}, Files: files,
		Sys: &syscall.SysProcAttr{
			Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: s.Flags | unix.CLONE_PARENT,
			Credential: &syscall.Credential{NoSetGroups: s.IDs == 1},
		},
	})
	if err != nil {
		return 0, fmt.Errorf("start PID 1 of the container: %w", err)
	}
	return pid, nil
}

// devicePaths are the devices of a container (guest/init, mounts.go), which no user namespace
// can make: they are the host's own.
func devicePaths() []string {
	return []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}
}

func deviceVolumes() []proto.Volume { return volumesAt(devicePaths()) }

// openDevices makes a mount of each.
func openDevices() ([]*os.File, error) {
	return openHostPaths(devicePaths(), unix.O_NOFOLLOW, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
}
