package label

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// labelled reads the label of a file itself.
func labelled(t *testing.T, path string) string {
	t.Helper()
	b := make([]byte, 256)
	n, err := unix.Lgetxattr(path, xattr, b)
	if errors.Is(err, unix.ENODATA) {
		return ""
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(b[:n])
}

// tree makes a folder to relabel, with links out of it and another file system in it, and
// a file outside.
func tree(t *testing.T) (dir, outside string) {
	t.Helper()
	if Host() != Absent || os.Geteuid() != 0 {
		t.Skip("needs root, and a kernel that takes any label")
	}
	// The mount below is this thread's alone, which ends with the test.
	runtime.LockOSThread()
	err := errors.Join(unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	dir, outside = filepath.Join(top, "dir"), filepath.Join(top, "outside")
	for _, d := range []string{"/sub/deep", "/mount"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{outside, dir + "/sub/deep/file", dir + "/file"} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(os.Symlink(outside, dir+"/link"), os.Symlink(top, dir+"/sub/up"),
		unix.Mkfifo(dir+"/fifo", 0o600), unix.Mount("tmpfs", dir+"/mount", "tmpfs", 0, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir+"/mount", 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(dir+"/mount/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, outside
}

// TestRelabel runs where the kernel keeps labels without looking at them; under SELinux,
// test/selinux uses volumes that were relabelled.
func TestRelabel(t *testing.T) {
	dir, outside := tree(t)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	l := &Lease{file: "system_u:object_r:container_file_t:s0:c1,c2"}
	for _, shared := range []bool{false, true, false} {
		if err := Relabel(l.file, fd, dir, shared); err != nil {
			t.Fatal(err)
		}
		want := l.file
		if shared {
			want = "system_u:object_r:container_file_t:s0"
		}
		for _, name := range []string{"", "/file", "/fifo", "/link", "/sub", "/sub/up", "/sub/deep", "/sub/deep/file"} {
			if got := labelled(t, dir+name); got != want {
				t.Errorf("shared %v: %s has the label %q, want %q", shared, name, got, want)
			}
		}
		for _, path := range []string{outside, filepath.Dir(dir), dir + "/mount", dir + "/mount/file"} {
			if got := labelled(t, path); got != "" {
				t.Errorf("shared %v: %s, outside, has the label %q", shared, path, got)
			}
		}
	}
}

func TestRelabelRefusals(t *testing.T) {
	l := &Lease{file: "system_u:object_r:container_file_t:s0:c1,c2"}
	t.Setenv("HOME", "/var/users/me")
	for _, source := range []string{"/", "/etc", "/etc/passwd", "/etc/deep/down", "/usr/share/x", "/proc/1", "/sys", "/dev/shm", "/home", "/home/me", "/root", "/var/lib", "/var/users/me"} {
		if err := Relabel(l.file, -1, source, true); err == nil || !strings.Contains(err.Error(), source+" belongs to the system") {
			t.Errorf("%s: %v", source, err)
		}
		if err := Relabel("", -1, source, true); err != nil {
			t.Errorf("%s without SELinux: %v", source, err)
		}
	}
	for _, source := range []string{"/home/me/data", "/srv/data", "/var/lib/x", "/etcetera", "/var/users/me/x"} {
		if err := checkRelabel(source); err != nil {
			t.Error(err)
		}
	}
	fd, err := unix.Open("/proc/self", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if Host() != Absent {
		return
	}
	if err := relabel(fd, "x", l.file); !errors.Is(err, errNoLabels) {
		t.Errorf("/proc: %v", err)
	}
}
