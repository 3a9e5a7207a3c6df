package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// debianImage makes a signed image of the files of installed Debian packages and of
// what they depend on.
func debianImage(t *testing.T, execJSON string, packages ...string) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		cannot(t, "needs Debian packages: "+err.Error())
	}
	dir := shared.tempDir(t)
	root := filepath.Join(dir, "root")
	if err := mergedUsr(root); err != nil {
		t.Fatal(err)
	}
	for _, name := range withDependencies(t, packages) {
		files, err := exec.Command("dpkg-query", "--listfiles", name).Output()
		if err != nil {
			t.Fatalf("list the files of package %s: %v", name, err)
		}
		for path := range strings.Lines(string(files)) {
			if err := install(root, strings.TrimSuffix(path, "\n")); err != nil {
				t.Fatalf("package %s: %v", name, err)
			}
		}
	}
	out := filepath.Join(dir, "debian.aci")
	if err := shared.pack("example.com/app/debian", root, execJSON, out); err != nil {
		t.Fatal(err)
	}
	if err := shared.sign(shared.alice, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// mergedUsr makes the links of Debian's root directory into /usr.
func mergedUsr(root string) error {
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		err := errors.Join(os.MkdirAll(filepath.Join(root, "usr", dir), 0o755), os.Symlink("usr/"+dir, filepath.Join(root, dir)))
		if err != nil {
			return err
		}
	}
	return nil
}

// notNeeded are packages that others depend on for their installation alone.
var notNeeded = map[string]bool{"dpkg": true, "debconf": true}

// withDependencies adds to packages all that they depend on.
func withDependencies(t *testing.T, packages []string) []string {
	t.Helper()
	var all []string
	seen := map[string]bool{}
	for len(packages) > 0 {
		name := packages[0]
		packages = packages[1:]
		if seen[name] || notNeeded[name] {
			continue
		}
		seen[name] = true
		out, err := exec.Command("dpkg-query", "--show", "--showformat", "${db:Status-Status}:${Pre-Depends},${Depends}", name).Output()
		status, depends, _ := strings.Cut(string(out), ":")
		if err != nil || status != "installed" {
			cannot(t, fmt.Sprintf("needs the Debian package %s: apt-get install %s", name, name))
		}
		all = append(all, name)
		for d := range strings.SplitSeq(depends, ",") {
			// "name:any (>= 1) | other": the first alternative is the usual one.
			if f := strings.Fields(d); len(f) > 0 {
				name, _, _ := strings.Cut(f[0], ":")
				packages = append(packages, name)
			}
		}
	}
	return all
}

// install copies one file, link or folder of the host to the same path below root.
func install(root, path string) error {
	for _, dir := range []string{"/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/lintian/"} {
		if strings.HasPrefix(path, dir) {
			return nil
		}
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) { // as slim Debian images lack documentation
		return nil
	}
	if err != nil {
		return err
	}
	to := filepath.Join(root, path)
	switch {
	case path == "/." || info.IsDir():
		return os.MkdirAll(to, 0o755)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if _, there := os.Lstat(to); err != nil || there == nil { // such as /lib
			return err
		}
		return os.Symlink(target, to)
	}
	return copyFile(to, path, info.Mode().Perm())
}

// TestStaticAndGlibcApps runs busybox's shell, a static program, which runs sort, a
// dynamic one.
func TestStaticAndGlibcApps(t *testing.T) {
	needVM(t)
	image := debianImage(t, `["/bin/busybox", "sh", "-c"]`, "busybox-static", "coreutils")
	takeSlot(t)
	r := run(t, shared.place, image, "--", `set -e
printf 'pear\napple\nfig\n' >/tmp.list
/usr/bin/sort /tmp.list
exit 5`)
	r.check(t, 5)
	if r.stdout != "apple\nfig\npear\n" || r.stderr != "" {
		t.Errorf("want the fruit in order:\n%v", r)
	}
}

// TestPython runs a program that needs its standard library, C extensions and
// OpenSSL. It runs as root: with docker's default capabilities in force.
func TestPython(t *testing.T) {
	needVM(t)
	image := debianImage(t, `["/usr/bin/python3", "-c"]`, "python3-minimal")
	takeSlot(t)
	r := run(t, shared.place, image, "--", `
import hashlib, os, re, sys, zlib
print(sys.version_info.major, os.getuid(), os.getpid() > 1)
print(hashlib.sha256(b"clearrun").hexdigest())
print(zlib.crc32(b"clearrun"))
print(re.search(r"CapEff:\s*(\w+)", open("/proc/self/status").read())[1])
print("done", file=sys.stderr)
`)
	r.check(t, 0)
	want := "3 0 True\n" +
		"e92f5d63e6e084f1fda1db0bcf9faa02d164a41bd9a37bed318f179396a87363\n" +
		"3845819249\n" +
		defaultCapabilities + "\n"
	if r.stdout != want || r.stderr != "done\n" {
		t.Errorf("want %q and \"done\" on stderr:\n%v", want, r)
	}
}
