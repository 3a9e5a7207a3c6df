package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var errPossible = errors.New("it is possible")

// refused gives an error if an attempt was not.
func refused(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s: %w", what, errPossible)
	}
	return nil
}

// descriptors looks for any that PID 1 or clearrun left open, of whatever number.
func descriptors() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	mounts, err := ownMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			errs = append(errs, descriptor(fd, mounts))
		}
	}
	return errors.Join(errs...)
}

// descriptor looks at one. What is open of a mount that the container does not have leads out of it (CVE-2024-21626),
// even if its path looks like one of the container's.
func descriptor(fd int, mounts map[string]bool) error {
	target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil // that of the folder that listed it, closed since
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return err
	}
	if id := value(string(info), "mnt_id:"); strings.HasPrefix(target, "/") && !mounts[id] {
		return fmt.Errorf("descriptor %d is %s on a mount of others, %s", fd, target, id)
	}
	if fd < 3 || strings.HasPrefix(target, "anon_inode:") { // Go's own poller
		return nil
	}
	if strings.HasPrefix(target, "/proc/") || strings.HasPrefix(target, "/sys/fs/cgroup/") {
		return nil // opened by this program's runtime
	}
	return fmt.Errorf("descriptor %d is %s", fd, target)
}

// ownMounts are the IDs of the container's mounts.
func ownMounts() (map[string]bool, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		id, _, _ := strings.Cut(line, " ")
		ids[id] = true
	}
	return ids, nil
}

// exeOverwrite tries to change the program that PID 1 runs (CVE-2019-5736): by its link, by one to a descriptor that
// was opened for less, and by what is mapped of it.
func exeOverwrite() error {
	paths := []string{"/proc/1/exe"}
	if fd, err := unix.Open("/proc/1/exe", unix.O_PATH, 0); err == nil {
		paths = append(paths, fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	mapped, err := filepath.Glob("/proc/1/map_files/*")
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range append(paths, mapped...) {
		for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC} {
			fd, err := unix.Open(path, flags, 0)
			if err == nil {
				// An open one must still refuse to be written to.
				_, err = unix.Write(fd, []byte("#!"))
			}
			errs = append(errs, refused("write to "+path, err))
		}
	}
	return errors.Join(errs...)
}

// magicLinks follows the links of /proc that lead to objects, not paths.
func magicLinks() error {
	var errs []error
	for _, link := range []string{"/proc/1/root", "/proc/1/cwd", "/proc/self/root/..", "/proc/self/root/../../..", "/proc/thread-self/root/.."} {
		if _, err := os.Stat(link + "/etc/motd"); err == nil {
			continue // it is the container's own root
		}
		entries, err := os.ReadDir(link)
		if err == nil && len(entries) > 0 {
			errs = append(errs, fmt.Errorf("%s leads to %v", link, entries[0]))
		}
	}
	for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts", "cgroup", "time", "user"} {
		own, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			errs = append(errs, err)
		}
		fd, err := unix.Open("/proc/1/ns/"+ns, unix.O_RDONLY, 0)
		if err != nil {
			continue
		}
		other, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if other != own {
			errs = append(errs, fmt.Errorf("PID 1 has another %s namespace, %s, than its app, %s", ns, other, own))
		}
		errs = append(errs, refused("enter the namespace "+other, unix.Setns(fd, 0)))
	}
	return errors.Join(errs...)
}

// initIsClosed tries to look into PID 1.
func initIsClosed() error {
	var errs []error
	for _, path := range []string{"/proc/1/mem", "/proc/1/environ", "/proc/1/maps", "/proc/1/auxv", "/proc/1/map_files"} {
		f, err := os.Open(path)
		if err == nil {
			_, err = f.Readdirnames(1)
			if err != nil {
				_, err = f.Read(make([]byte, 1))
			}
			f.Close()
		}
		errs = append(errs, refused("read "+path, err))
	}
	for fd := range 16 {
		_, err := unix.Open(fmt.Sprintf("/proc/1/fd/%d", fd), unix.O_RDWR, 0)
		errs = append(errs, refused(fmt.Sprintf("open descriptor %d of PID 1", fd), err))
	}
	pidfd, err := unix.PidfdOpen(1, 0)
	if err == nil {
		_, err = unix.PidfdGetfd(pidfd, 3, 0)
	}
	errs = append(errs, refused("take a descriptor of PID 1", err))
	return errors.Join(errs...)
}

func traceInit() error {
	// Wherever that is: without the right to it, the address does not matter.
	local, remote := unix.Iovec{Base: new(byte)}, unix.RemoteIovec{Base: 1 << 16, Len: 1}
	local.SetLen(1)
	_, read := unix.ProcessVMReadv(1, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
	_, write := unix.ProcessVMWritev(1, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
	errs := []error{refused("PTRACE_ATTACH", unix.PtraceAttach(1)), refused("PTRACE_SEIZE", unix.PtraceSeize(1))}
	for what, err := range map[string]error{"process_vm_readv": read, "process_vm_writev": write} {
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) {
			errs = append(errs, fmt.Errorf("%s: %w, want EPERM", what, err))
		}
	}
	return errors.Join(errs...)
}

// forStart are the capabilities that PID 1 may hold beyond its app's while that starts:
// CAP_KILL, CAP_SETGID, CAP_SETUID and CAP_SYS_RESOURCE.
const forStart = 1<<5 | 1<<6 | 1<<7 | 1<<24

// initHasNoRights is for an app that may trace PID 1, which gives up its last rights while the app already
// runs. It looks until PID 1 has none that the app lacks; at no time may that have any of use.
func initHasNoRights() error {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	app, err := strconv.ParseUint(value(string(own), "CapPrm:"), 16, 64)
	if err != nil {
		return err
	}
	const looks = 10_000
	var excess error
	for range looks {
		status, err := os.ReadFile("/proc/1/status")
		if err != nil {
			return err
		}
		held, err := strconv.ParseUint(value(string(status), "CapPrm:"), 16, 64)
		if err != nil {
			return err
		}
		if more := held &^ (app | forStart); more != 0 {
			return fmt.Errorf("PID 1 has capabilities %#x that its app lacks", more)
		}
		if excess = sameRights(string(status), string(own)); excess == nil {
			break
		}
	}
	tasks, err := filepath.Glob("/proc/1/task/*")
	if err != nil || len(tasks) != 1 {
		err = fmt.Errorf("PID 1 has %d threads, %w", len(tasks), err)
	}
	return errors.Join(excess, err)
}

// sameRights compares what PID 1 may do with what its app may.
func sameRights(status, own string) error {
	var errs []error
	for _, field := range []string{"CapPrm:", "CapEff:", "CapBnd:", "CapInh:", "Seccomp:"} {
		if a, b := value(status, field), value(own, field); a != b {
			errs = append(errs, fmt.Errorf("PID 1 has %s %s, its app %s", field, a, b))
		}
	}
	if got := value(status, "NoNewPrivs:"); got != "1" {
		errs = append(errs, fmt.Errorf("PID 1 could gain privileges: NoNewPrivs is %s", got))
	}
	return errors.Join(errs...)
}

func value(status, field string) string {
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, field); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func userNamespaces() error {
	var errs []error
	for name, flag := range map[string]int{
		"user": unix.CLONE_NEWUSER, "mount": unix.CLONE_NEWNS, "network": unix.CLONE_NEWNET, "pid": unix.CLONE_NEWPID,
	} {
		errs = append(errs, refused("unshare a "+name+" namespace", unix.Unshare(flag)))
		_, err := syscall.ForkExec("/proc/self/exe", []string{"probe", "euid"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: uintptr(flag)}})
		errs = append(errs, refused("clone into a "+name+" namespace", err))
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); errno != unix.ENOSYS {
		errs = append(errs, fmt.Errorf("clone3, whose flags no filter sees: %w", errno))
	}
	return errors.Join(errs...)
}

func mounts() error {
	_, fsopen := unix.Fsopen("proc", 0)
	_, tree := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
	return errors.Join(
		refused("mount proc", unix.Mount("proc", "/proc", "proc", 0, "")),
		refused("remount /sys", unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "")),
		refused("remount /", unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "")),
		refused("bind", unix.Mount("/", "/dev/shm", "", unix.MS_BIND, "")),
		refused("unmount a mask", unix.Unmount("/proc/keys", unix.MNT_DETACH)),
		refused("pivot_root", unix.PivotRoot("/", "/")),
		refused("fsopen", fsopen), refused("open_tree", tree))
}

// devices makes nodes for the host's disks and memory wherever a file can be made, and
// tries to open them.
func devices() error {
	var errs []error
	for _, dir := range []string{"/", "/dev", "/dev/shm", "/dev/mqueue", "/dev/pts"} {
		for name, d := range map[string]struct{ mode, major, minor uint32 }{
			"mem": {unix.S_IFCHR, 1, 1}, "kmsg": {unix.S_IFCHR, 1, 11}, "loop": {unix.S_IFBLK, 7, 0}, "vda": {unix.S_IFBLK, 254, 0},
			"sda": {unix.S_IFBLK, 8, 0}, "fuse": {unix.S_IFCHR, 10, 229}, "kvm": {unix.S_IFCHR, 10, 232}, "loop-control": {unix.S_IFCHR, 10, 237},
		} {
			path := filepath.Join(dir, "probe-"+name)
			if unix.Mknod(path, d.mode|0o666, int(unix.Mkdev(d.major, d.minor))) != nil {
				continue
			}
			_, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
			errs = append(errs, refused("open "+path, err))
			if err != unix.EACCES {
				errs = append(errs, fmt.Errorf("open %s: %w, want EACCES", path, err))
			}
		}
	}
	return errors.Join(errs...)
}

func kmsg() error {
	_, open := unix.Open("/dev/kmsg", unix.O_RDWR, 0)
	_, read := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, make([]byte, 64))
	return errors.Join(refused("open /dev/kmsg", open), refused("syslog", read))
}

func keyrings() error {
	var errs []error
	// Of the user ones there is one for all processes of the user on the host.
	for name, id := range map[string]int{
		"session": unix.KEY_SPEC_SESSION_KEYRING, "user": unix.KEY_SPEC_USER_KEYRING, "user session": unix.KEY_SPEC_USER_SESSION_KEYRING,
	} {
		_, add := unix.AddKey("user", "probe", []byte("x"), id)
		_, search := unix.KeyctlGetKeyringID(id, false)
		_, request := unix.RequestKey("user", "probe", "", id)
		_, read := unix.KeyctlBuffer(unix.KEYCTL_READ, id, make([]byte, 64), 0)
		errs = append(errs, refused("add_key to the "+name+" keyring", add), refused("keyctl: find the "+name+" keyring", search),
			refused("request_key in the "+name+" keyring", request), refused("keyctl: read the "+name+" keyring", read))
	}
	_, join := unix.KeyctlJoinSessionKeyring("_ses")
	_, list := os.ReadFile("/proc/keys")
	if keys, err := os.ReadFile("/proc/keys"); err == nil && len(keys) == 0 {
		list = os.ErrPermission // masked
	}
	return errors.Join(append(errs, refused("keyctl: join a session keyring", join), refused("read /proc/keys", list))...)
}

// written tries to write to files.
func written(paths ...string) error {
	var errs []error
	for _, path := range paths {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("h")
			f.Close()
		}
		errs = append(errs, refused("write to "+path, err))
	}
	return errors.Join(errs...)
}

func sysrq() error { return written("/proc/sysrq-trigger", "/proc/sys/kernel/sysrq") }

func procSys() error {
	return written("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/vm/panic_on_oom",
		"/proc/sys/fs/binfmt_misc/register", "/proc/irq/0/smp_affinity", "/proc/bus/pci/devices", "/sys/kernel/uevent_helper",
		"/sys/kernel/profiling", "/sys/power/state", "/sys/module/kernel/parameters/panic")
}

// masked looks for something behind the masks.
func masked() error {
	var errs []error
	for _, path := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/sys/firmware", "/proc/acpi", "/proc/scsi"} {
		if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
			errs = append(errs, fmt.Errorf("%s holds %v", path, entries))
		}
		if data := make([]byte, 1); true {
			f, err := os.Open(path)
			if err != nil {
				continue
			}
			if n, _ := f.Read(data); n > 0 {
				errs = append(errs, fmt.Errorf("%s can be read", path))
			}
			f.Close()
		}
	}
	return errors.Join(errs...)
}

// releaseAgent tries to have the host run a program when a cgroup empties
// (CVE-2022-0492).
func releaseAgent() error {
	agents, _ := filepath.Glob("/sys/fs/cgroup/*release_agent")
	more, _ := filepath.Glob("/sys/fs/cgroup/*/*release_agent")
	return errors.Join(
		written(append(agents, more...)...), written("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.subtree_control"),
		refused("mount cgroup v1", unix.Mount("cgroup", "/dev/shm", "cgroup", 0, "memory")),
		refused("make a cgroup", os.Mkdir("/sys/fs/cgroup/probe", 0o755)))
}

// handles tries to open a file of the host by its handle ("shocker").
func handles() error {
	h := unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0}) // inode 2, the root of ext4
	root, err := unix.Open("/", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_, err = unix.OpenByHandleAt(root, h, unix.O_RDONLY)
	return refused("open_by_handle_at", err)
}

// terminalInput tries to type on the terminal that clearrun was started from.
func terminalInput() error {
	_, tty := unix.Open("/dev/tty", unix.O_RDWR, 0)
	errs := []error{refused("open the caller's terminal", tty)}
	for fd := range 3 {
		errs = append(errs, refused("TIOCSTI", unix.IoctlSetPointerInt(fd, unix.TIOCSTI, 'x')))
	}
	return errors.Join(errs...)
}

// otherABIs makes a system call by the numbers of x32, which filters by number would
// not know.
func otherABIs() error {
	const x32 = 0x40000000
	if _, _, errno := unix.RawSyscall(x32|unix.SYS_GETPID, 0, 0, 0); errno != unix.ENOSYS {
		return fmt.Errorf("x32: %w, want ENOSYS", errno)
	}
	return nil
}

func module() error {
	var errs []error
	for name, call := range map[string]uintptr{
		"init_module": unix.SYS_INIT_MODULE, "finit_module": unix.SYS_FINIT_MODULE, "kexec_load": unix.SYS_KEXEC_LOAD,
		"bpf": unix.SYS_BPF, "perf_event_open": unix.SYS_PERF_EVENT_OPEN, "userfaultfd": unix.SYS_USERFAULTFD,
		"io_uring_setup": unix.SYS_IO_URING_SETUP, "reboot": unix.SYS_REBOOT, "swapon": unix.SYS_SWAPON, "settimeofday": unix.SYS_SETTIMEOFDAY,
	} {
		if _, _, errno := unix.RawSyscall6(call, 0, 0, 0, 0, 0, 0); errno != unix.EPERM {
			errs = append(errs, fmt.Errorf("%s: %w, want EPERM", name, errno))
		}
	}
	return errors.Join(errs...)
}

// hostNetwork looks for the host's interfaces and its abstract sockets.
func hostNetwork() error {
	data, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return err
	}
	if n := strings.Count(string(data), ":"); n != 1 {
		return fmt.Errorf("%d interfaces:\n%s", n, data)
	}
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return err
	}
	if n := strings.Count(string(sockets), "\n"); n > 1 {
		return fmt.Errorf("sockets of others:\n%s", sockets)
	}
	return nil
}
