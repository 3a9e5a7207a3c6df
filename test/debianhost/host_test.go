package debianhost

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/test/debiankernel"
)

// TestHost boots the machine. What happens in it is in the folder guest, and in hostrun's own
// tests of the device mapper, which run there.
func TestHost(t *testing.T) {
	debiankernel.Need(t, "debian-host/key")
	vm := debiankernel.Machine{
		Guest:   "./guest",
		Modules: []string{"erofs", "overlay", "loop", "virtio_pci", "virtio_blk"},
		Extra:   []string{"dm-verity", "btrfs", "xfs"},
		Files: []cpio.Record{
			cpio.StaticFile("bin/hostrun.test", debiankernel.Read(t, compileTests(t, "hostrun")), 0o755),
			cpio.StaticFile("bin/rootfs.test", debiankernel.Read(t, compileTests(t, "image/rootfs")), 0o755),
			cpio.StaticFile("limits.aci", limitedApp(t), 0o644),
		},
		Disks: []string{makeDisk(t, "verity"), makeDisk(t, "^verity")},
		Kept:  []string{debiankernel.Build + "debian-host/btrfs", debiankernel.Build + "debian-host/xfs", debiankernel.Build + "debian-host/udev"},
	}.Run(t)
	vm.Want(t, 45)
}

// limitedApp is an image of busybox that asks for limits of its own.
func limitedApp(t *testing.T) string {
	program := acitest.File("rootfs/bin/busybox", debiankernel.Read(t, "/bin/busybox"))
	program.Mode = 0o755
	return string(acitest.Tar(t, acitest.Manifest("example.com/limits", `{"exec":["/bin/busybox"],"user":"0","group":"0","isolators":[
		{"name":"resource/cpu","value":{"limit":"1"}},{"name":"resource/block-iops","value":{"default":true,"limit":"1000"}}]}`),
		acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), program, acitest.Link('2', "rootfs/bin/sh", "busybox")))
}

// makeDisk makes a file system of type ext4, with a feature.
func makeDisk(t *testing.T, feature string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk")
	if out, err := exec.Command("/usr/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", feature, path, "64M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	return path
}

// compileTests builds a package's tests, for another machine to run.
func compileTests(t *testing.T, pkg string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "test")
	cmd := exec.Command("go", "test", "-c", "-o", path, "../../"+pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	return path
}
