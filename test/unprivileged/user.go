// Package unprivileged runs commands of tests, which run as root, as a user who is not. It
// changes nothing of the host's: what /etc says of the user, the command alone sees. It is no sandbox.
package unprivileged

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is somebody without root's rights, whose group has the same number.
type User struct {
	ID int
	// SubIDs is where the user's range of 65536 IDs begins (subuid(5), subgid(5)); 0: there is none.
	SubIDs int
}

// group is another of the user's groups, which no container is to keep.
const group = 4343

// Own gives the files to the user.
func (u User) Own(paths ...string) error {
	for _, path := range paths {
		if err := os.Chown(path, u.ID, u.ID); err != nil {
			return err
		}
	}
	return nil
}

// Start starts a command as the user, with dir as home and for temporary files.
func (u User) Start(cmd *exec.Cmd, dir string) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends, and only the command has its mount namespace
		started <- u.StartHere(cmd, dir)
	}()
	return <-started
}

// StartHere is Start in the namespaces of this thread, which must be a locked one, and has a mount
// namespace of its own from now on.
func (u User) StartHere(cmd *exec.Cmd, dir string) error {
	files, err := u.write(dir)
	if err != nil {
		return err
	}
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"), "HOME="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.ID), Gid: uint32(u.ID), Groups: []uint32{group}}}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for path, content := range files {
		_ = unix.Unmount(path, unix.MNT_DETACH) // of an earlier command
		if err := unix.Mount(content, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount on %s: %w", path, err)
		}
	}
	return cmd.Start()
}

// write writes what /etc is to say into dir, and gives for each of its files the one there.
func (u User) write(dir string) (map[string]string, error) {
	contents := map[string]string{
		"passwd": fmt.Sprintf("root:x:0:0::/:/bin/sh\nrunner:x:%d:%d::/:/bin/sh\n", u.ID, u.ID), "subuid": "", "subgid": "",
	}
	if u.SubIDs != 0 {
		contents["subuid"] = fmt.Sprintf("nobody:100:5\nrunner:%d:65536\n", u.SubIDs)
		contents["subgid"] = fmt.Sprintf("nobody:100:5\n%d:%d:65536\n", u.ID, u.SubIDs)
	}
	files := map[string]string{}
	for name, content := range contents {
		path := filepath.Join(dir, "etc-"+name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
		files["/etc/"+name] = path
	}
	return files, nil
}
