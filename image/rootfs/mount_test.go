package rootfs_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/acitest"
)

// TestMountedEqualsTar lets the kernel read the image and compares what it sees with
// what tar unpacks: every field of every file.
func TestMountedEqualsTar(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners, devices, mounts")
	}
	archive := everything(t)
	f, _ := render(t, open(t, archive))
	want := untar(t, archive)
	same(t, mounted(t, f.Name()), want)
	if len(want) < 600 {
		t.Errorf("only %d files compared", len(want))
	}
}

// same compares descriptions of two trees.
func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if got[p] != want[p] {
			t.Errorf("%.60q:\n got %.300s\nwant %.300s", p, got[p], want[p])
		}
	}
	for p := range got {
		if want[p] == "" {
			t.Errorf("%.60q is there, but not in the other tree: %.300s", p, got[p])
		}
	}
}

// TestWhitelist checks that exactly the listed paths and their parents remain.
func TestWhitelist(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	manifest := acitest.Manifest("example.com/a", "")
	manifest.Data = strings.TrimSuffix(manifest.Data, "}") + `,"pathWhitelist":["/bin/hello","/etc/conf.d/","/missing"]}`
	f, _ := render(t, open(t, acitest.Tar(t, manifest, acitest.Dir("rootfs"),
		acitest.File("rootfs/bin/hello", "h"), acitest.File("rootfs/bin/other", "o"),
		acitest.File("rootfs/etc/conf.d/x", "x"), acitest.File("rootfs/top", "t"))))
	got := slices.Sorted(maps.Keys(mounted(t, f.Name())))
	want := []string{".", "bin", "bin/hello", "etc", "etc/conf.d"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// untar unpacks an ACI with GNU tar and describes the root.
func untar(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	return untarIn(t, archive, "rootfs")
}

// untarIn unpacks with GNU tar and describes what is in the folder root of it.
func untarIn(t *testing.T, archive []byte, root string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(name, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tar", "-xpf", name, "-C", dir, "--numeric-owner", "--same-owner", "--delay-directory-restore",
		"--xattrs", "--xattrs-include=*").CombinedOutput()
	if err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return describe(t, filepath.Join(dir, root))
}

// mounted describes the image as the kernel shows it.
func mounted(t *testing.T, name string) map[string]string {
	t.Helper()
	return mountedAs(t, "erofs", name)
}

// mountedAs describes the file system in a file. The mount is in a namespace of one
// thread, and gone with it.
func mountedAs(t *testing.T, fstype, name string) map[string]string {
	t.Helper()
	if data, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(data), "\t"+fstype+"\n") {
		t.Skip("the kernel has no " + fstype)
	}
	dir := t.TempDir()
	var files map[string]string
	var skip string
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends, and its namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			skip = fmt.Sprintf("unshare: %v", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			skip = fmt.Sprintf("private mounts: %v", err)
			return
		}
		// The child has this thread's namespace; it frees the loop device with the mount.
		if out, err := exec.Command("mount", "-t", fstype, "-o", "ro,loop", name, dir).CombinedOutput(); err != nil {
			if out2, err := exec.Command("losetup", "-f").CombinedOutput(); err != nil {
				skip = fmt.Sprintf("no loop device: %s", out2)
				return
			}
			t.Errorf("mount: %v: %s", err, out)
			return
		}
		files = describe(t, dir)
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	<-done
	if skip != "" {
		t.Skip(skip)
	}
	return files
}

// describe returns one line per file with all that can be seen of it, and which are the
// other names of the same file. What differs between file systems for good reason is
// left out: the sizes of folders.
func describe(t *testing.T, root string) map[string]string {
	files := make(map[string]string)
	first := make(map[uint64]string) // inode number: the name that came first
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(p, &st); err != nil {
			return err
		}
		files[rel], err = describeFile(p, st)
		if name := first[st.Ino]; name != "" {
			files[rel] += " is " + name
		} else {
			first[st.Ino] = rel
		}
		return err
	})
	if err != nil {
		t.Errorf("walk: %v", err)
	}
	return files
}

func describeFile(p string, st syscall.Stat_t) (string, error) {
	line := fmt.Sprintf("mode %o owner %d:%d links %d rdev %x mtime %d.%09d", st.Mode, st.Uid, st.Gid, st.Nlink, st.Rdev,
		st.Mtim.Sec, st.Mtim.Nsec)
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		data, err := os.ReadFile(p)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" size %d sha256 %x", st.Size, sha256.Sum256(data))
	case syscall.S_IFLNK:
		target, err := os.Readlink(p)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" size %d target %q", st.Size, target)
	}
	attrs, err := listAttrs(p)
	return line + attrs, err
}

func listAttrs(p string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, buf)
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return "", err
	}
	names := strings.FieldsFunc(string(buf[:max(n, 0)]), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	var line string
	for _, name := range names {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(p, name, value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		line += fmt.Sprintf(" %s=%q", name, value[:n])
	}
	return line, nil
}
