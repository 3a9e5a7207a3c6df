package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// landlockRights are the rights to files that each version of the ABI has brought, from
// the first (landlock(7)).
var landlockRights = [...]uint64{
	unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1, // and all below
	unix.LANDLOCK_ACCESS_FS_REFER,
	unix.LANDLOCK_ACCESS_FS_TRUNCATE,
	0,
	unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
}

// landlockScopes is the version of the ABI from which on a domain can be closed to
// signals and abstract sockets.
const landlockScopes = 6

// landlock is a second wall around an app on the host's kernel: files are out of its
// reach that are not below its root, whatever descriptor it may come to hold, and so are
// processes and abstract sockets outside, also those of a network that is the host's.
// A kernel without Landlock is no error: namespaces are the first wall.
//
// A domain that is about files may mount nothing. An app with CAP_SYS_ADMIN, which is
// given to mount, gets the scopes alone.
func landlock(start *proto.Start) error {
	version, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno == unix.ENOSYS || errno == unix.EOPNOTSUPP {
		return nil
	}
	if errno != 0 {
		return fail("restrict", "ask for Landlock", errno)
	}
	var rules unix.LandlockRulesetAttr
	if !start.Capabilities.Has(unix.CAP_SYS_ADMIN) {
		for _, rights := range landlockRights[:min(int(version), len(landlockRights))] {
			rules.Handled_access_fs |= rights
		}
	}
	if version >= landlockScopes {
		rules.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	if rules.Handled_access_fs == 0 && rules.Scoped == 0 {
		return nil
	}
	return fail("restrict", "confine the app by Landlock", enforceRules(&rules))
}

// enforceRules puts this thread into a domain of its own, with all the rights that are
// restricted by rules below the root directory, and there alone.
func enforceRules(rules *unix.LandlockRulesetAttr) error {
	// Older kernels take a longer structure whose end is zero.
	set, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(rules)), unsafe.Sizeof(*rules), 0)
	runtime.KeepAlive(rules)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(set))
	if rules.Handled_access_fs != 0 {
		root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(root)
		rule := unix.LandlockPathBeneathAttr{Allowed_access: rules.Handled_access_fs, Parent_fd: int32(root)}
		_, _, errno = unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, set, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		runtime.KeepAlive(&rule)
		if errno != 0 {
			return errno
		}
	}
	_, _, errno = unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, set, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
