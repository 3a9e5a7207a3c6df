package hostrun

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/slots"
	"github.com/clearrun/clearrun/pod"
)

// The IDs of the host that containers of root's can have: a part of those that systemd's list of
// assignments (UIDS-GIDS) leaves unused, far from the ranges that users are given.
const (
	idBase   = 0x70000000
	idsEach  = 65536
	idRanges = 4000
)

// idStateDir is the allocator's directory: one for all of the host.
const idStateDir = "/var/lib/clearrun/userns"

// userNS is the user namespace of a container that root runs.
type userNS struct {
	base  uint32   // root's ID on the host; idsEach from here on
	lease *os.File // PID 1 keeps it, too
}

// newUserNS leases a range that no other container has. It is nil if none is wanted.
func newUserNS(p *pod.Pod) (*userNS, error) {
	if p.UserNamespace != pod.UserNamespaceAuto {
		return nil, nil
	}
	if err := canMapLayers(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(idStateDir, 0o755); err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	slot, lease, err := slots.Pool{Path: filepath.Join(idStateDir, "ranges"), Perm: 0o600, Count: idRanges}.Next()
	if err != nil {
		return nil, fmt.Errorf("user namespace: lease one of %d ranges of IDs: %w", idRanges, err)
	}
	return &userNS{idBase + uint32(slot)*idsEach, lease}, nil
}

// canMapLayers asks for Linux 6.6, whose tmpfs keeps what an overlay of a user namespace
// writes to it (overlayfs.rst, userxattr); EROFS has mapped IDs since 5.19.
func canMapLayers() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || major < 6 || major == 6 && minor < 6 {
		return fmt.Errorf("--userns auto needs Linux 6.6, and this is %s: leave it out, or ask for tier vm (--vm)", release)
	}
	return nil
}

// close gives up this process's hold on the range.
func (u *userNS) close() {
	if u != nil {
		u.lease.Close()
	}
}

// apply has PID 1 start as root of the user namespace.
func (u *userNS) apply(attr *syscall.SysProcAttr) {
	if u == nil {
		return
	}
	m := []syscall.SysProcIDMap{{HostID: int(u.base), Size: idsEach}}
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = m, m, true
	attr.Credential = &syscall.Credential{}
}

// tell adds to the message what PID 1 has to know of it.
func (u *userNS) tell(start *proto.Start) {
	start.IDs = idsEach
	start.Volumes = slices.Concat(deviceVolumes(), start.Volumes)
}

// mapMounts shows PID 1, which has not attached them yet, the owners of files in these mounts as its
// own IDs. One mount for each of names.
func (u *userNS) mapMounts(pid int, mounts []*os.File, names []string) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	for i, m := range mounts {
		err := unix.MountSetattr(int(m.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{
			Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd()),
		})
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%s: its file system, or one that is mounted in it, cannot map IDs (%w): use --userns host, or ask for tier vm (--vm)", names[i], err)
		}
		if err != nil {
			return fmt.Errorf("%s: map its IDs: %w", names[i], err)
		}
	}
	return nil
}

// enforcement is the report's entry.
func (u *userNS) enforcement() pod.Enforcement {
	if u == nil {
		return pod.Enforcement{Name: userNamespace, State: pod.Absent, Detail: "root of the container is root of the host (--userns auto makes it somebody else)"}
	}
	return pod.Enforcement{Name: userNamespace, State: pod.Enforced, Detail: fmt.Sprintf("root is user %d of the host, and no other container has its %d IDs", u.base, idsEach)}
}
