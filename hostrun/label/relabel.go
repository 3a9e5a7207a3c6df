package label

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Relabel gives a directory or file, and all below it on its file system, the label of a
// container's files (Lease.FileLabel); shared: that at level s0, which all containers may use. fd is an O_PATH
// descriptor of what source, a path without symbolic links, leads to. Symbolic links below are
// labelled themselves and not followed. Without a label, Relabel does nothing.
func Relabel(label string, fd int, source string, shared bool) error {
	if label == "" {
		return nil
	}
	if err := checkRelabel(source); err != nil {
		return err
	}
	if shared {
		c, err := ParseContext(label)
		if err != nil {
			return err
		}
		c.Level = "s0"
		label = c.String()
	}
	return relabel(fd, source, label)
}

// systemTrees are the system's own with all below them, systemFolders themselves alone: a
// program of the host's that may not use the containers' type would lose them.
var (
	systemTrees   = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr"}
	systemFolders = []string{
		"/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp",
		"/var", "/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/tmp",
	}
)

// checkRelabel keeps the system's own files, and a user's whole home, from being relabelled.
func checkRelabel(source string) error {
	first, _, _ := strings.Cut(strings.TrimPrefix(source, "/"), "/")
	home, _ := os.UserHomeDir()
	if slices.Contains(systemTrees, "/"+first) || slices.Contains(systemFolders, source) ||
		path.Dir(source) == "/home" || source == filepath.Clean(home) {
		return fmt.Errorf("%s belongs to the system or is a whole home: its label stays, or the host's own programs may lose it; take a folder of its own, or leave out z or Z", source)
	}
	return nil
}

var errNoLabels = errors.New("its file system keeps no labels: leave out z or Z")

// relabel labels what is below first: the way to it opens when all of it is ready.
func relabel(fd int, name, label string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("relabel %s: %w", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := relabelBelow(fd, name, label); err != nil {
			return err
		}
	}
	self := fmt.Sprintf("/proc/self/fd/%d", fd) // setxattr takes no O_PATH descriptors
	if has(self, label) {
		return nil
	}
	err := unix.Setxattr(self, xattr, []byte(label), 0)
	if errors.Is(err, unix.ENOTSUP) {
		err = errNoLabels
	}
	if err != nil {
		return fmt.Errorf("relabel %s: %w", name, err)
	}
	return nil
}

// has reports whether a file has the label already: then nothing need be written.
func has(path, label string) bool {
	var b [4096]byte
	n, err := unix.Getxattr(path, xattr, b[:])
	return err == nil && strings.TrimRight(string(b[:n]), "\x00") == label
}

func relabelBelow(fd int, name, label string) error {
	names, err := entries(fd)
	if err != nil {
		return fmt.Errorf("relabel %s: %w", name, err)
	}
	for _, entry := range names {
		below, err := unix.Openat2(fd, entry, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS,
		})
		switch {
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOENT): // another file system's, or gone
			continue
		case err != nil:
			return fmt.Errorf("relabel %s: %w", path.Join(name, entry), err)
		}
		err = relabel(below, path.Join(name, entry), label)
		unix.Close(below)
		if err != nil {
			return err
		}
	}
	return nil
}

// entries lists a directory of which there is an O_PATH descriptor.
func entries(fd int) ([]string, error) {
	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dir), "directory")
	defer f.Close()
	return f.Readdirnames(-1)
}
