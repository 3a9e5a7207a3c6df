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

// debs holds Debian packages that are not installed here, so that no server of theirs
// starts on this machine (hack/deps.sh fetches them).
const debs = "../../build/debs"

// debianImage makes a signed image of the files of Debian packages, installed or in
// debs, and of what they depend on.
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
	for _, p := range withDependencies(t, packages) {
		if err := p.install(root); err != nil {
			t.Fatalf("package %s: %v", p.name, err)
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

// notNeeded are packages that others depend on for their installation or their start
// by a host's init alone.
var notNeeded = map[string]bool{
	"dpkg": true, "debconf": true, "adduser": true, "init-system-helpers": true, "lsb-base": true, "iproute2": true,
}

// debianPackage is one whose files can be had.
type debianPackage struct {
	name, depends string
	deb           string // its archive; empty: it is installed
}

// findPackage looks among those installed, then in debs.
func findPackage(t *testing.T, name string) debianPackage {
	t.Helper()
	out, err := exec.Command("dpkg-query", "--show", "--showformat", "${db:Status-Status}:${Pre-Depends},${Depends}", name).Output()
	status, depends, _ := strings.Cut(string(out), ":")
	if err == nil && status == "installed" {
		return debianPackage{name: name, depends: depends}
	}
	found, err := filepath.Glob(filepath.Join(debs, name+"_*.deb"))
	if err != nil || len(found) == 0 {
		cannot(t, fmt.Sprintf("needs the Debian package %s, installed or in build/debs: run make deps", name))
	}
	p := debianPackage{name: name, deb: found[len(found)-1]}
	if out, err = exec.Command("dpkg-deb", "--showformat", "${Pre-Depends},${Depends}", "--show", p.deb).Output(); err != nil {
		t.Fatalf("%s: %v", p.deb, err)
	}
	p.depends = string(out)
	return p
}

// install puts the package's files below root.
func (p debianPackage) install(root string) error {
	if p.deb != "" {
		// Over links such as /lib, where the package has a folder.
		archive := exec.Command("dpkg-deb", "--fsys-tarfile", p.deb)
		tar := exec.Command("tar", "--extract", "--keep-directory-symlink", "--directory", root)
		var err error
		if tar.Stdin, err = archive.StdoutPipe(); err != nil {
			return err
		}
		if err := archive.Start(); err != nil {
			return err
		}
		return errors.Join(runCommand(tar), archive.Wait())
	}
	files, err := exec.Command("dpkg-query", "--listfiles", p.name).Output()
	if err != nil {
		return fmt.Errorf("list its files: %w", err)
	}
	for path := range strings.Lines(string(files)) {
		if err := install(root, strings.TrimSuffix(path, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// withDependencies adds to packages all that they depend on.
func withDependencies(t *testing.T, names []string) []debianPackage {
	t.Helper()
	var all []debianPackage
	seen := map[string]bool{}
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		if seen[name] || notNeeded[name] {
			continue
		}
		seen[name] = true
		p := findPackage(t, name)
		all = append(all, p)
		for d := range strings.SplitSeq(p.depends, ",") {
			// "name:any (>= 1) | other": the first alternative is the usual one.
			if f := strings.Fields(d); len(f) > 0 {
				name, _, _ := strings.Cut(f[0], ":")
				names = append(names, name)
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

// TestServers runs nginx and Redis, its worker as a user of its own, and a client of each.
func TestServers(t *testing.T) {
	needVM(t)
	image := debianImage(t, `["/bin/busybox", "sh", "-c"]`, "busybox-static", "nginx", "redis-server")
	takeSlot(t)
	r := run(t, shared.place, image, "--", `set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /tmp/www
echo nobody:x:65534:65534::/:/bin/false >/etc/passwd
echo nogroup:x:65534: >/etc/group
redis-server --save '' --daemonize yes --logfile /tmp/redis.log >/dev/null
cat >/tmp/nginx.conf <<'END'
user nobody nogroup;
worker_processes 1;
pid /tmp/nginx.pid;
error_log /tmp/nginx.log;
events {}
http { access_log off; server { listen 127.0.0.1:8080; location / { root /tmp/www; } } }
END
echo served >/tmp/www/index.html
nginx -c /tmp/nginx.conf
busybox wget -q -O - http://127.0.0.1:8080/index.html
until printf 'SET key value\nINCRBY counter 41\nGET key\n' | redis-cli --raw 2>/dev/null; do sleep 1; done
`)
	r.check(t, 0)
	if want := "served\nOK\n41\nvalue\n"; r.stdout != want || r.stderr != "" {
		t.Errorf("want %q and nothing on stderr:\n%v", want, r)
	}
}
