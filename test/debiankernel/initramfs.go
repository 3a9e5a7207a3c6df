package debiankernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/clearrun/clearrun/image/acitest"
)

// Policy lets any image run at tiers vm and ns, unsigned; a guest finds it as /policy.yaml.
const Policy = "rules:\n- name: test\n  match: {name: \"**\"}\n  require: {none: true}\n  tiers: [vm, ns]\n  allow: {networks: [none, user, host], volumes: [\"/:rw\"]}\n"

// initramfs packs the guest's files.
func (m Machine) initramfs(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	guest := filepath.Join(dir, "guest")
	compile := exec.Command("go", "build", "-o", guest, m.Guest)
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	records := []cpio.Record{cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.CharDev("dev/null", 0o666, 1, 3)}
	for _, d := range []string{"proc", "sys", "tmp", "var", "bin", "modules", "sysroot"} {
		records = append(records, cpio.Directory(d, 0o755))
	}
	order := m.Kernel.closure(t, m.Modules)
	records = append(records,
		cpio.StaticFile("init", Read(t, guest), 0o755),
		cpio.StaticFile("bin/clearrun", Read(t, Build+"clearrun"), 0o755),
		cpio.StaticFile("policy.yaml", Policy, 0o644),
		cpio.StaticFile("app.aci", app(t), 0o644),
		cpio.StaticFile("modules/load", strings.Join(order, "\n"), 0o644))
	for _, name := range order {
		records = append(records, m.Kernel.module(t, name))
	}
	for _, name := range m.Extra {
		after := m.Kernel.closure(t, []string{name})
		records = append(records, cpio.StaticFile("modules/"+name+".load", strings.Join(after, "\n"), 0o644))
		for _, name := range after {
			if !slices.Contains(order, name) {
				order = append(order, name)
				records = append(records, m.Kernel.module(t, name))
			}
		}
	}
	return pack(t, filepath.Join(dir, "initramfs"), append(records, m.Files...))
}

func pack(t *testing.T, path string, records []cpio.Record) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := cpio.Newc.Writer(f)
	if err := cpio.WriteRecords(w, records); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	return path
}

// app is an image of busybox, and a file whose blocks say their number; a guest finds it as /app.aci.
func app(t *testing.T) string {
	program := acitest.File("rootfs/bin/busybox", Read(t, "/bin/busybox"))
	program.Mode = 0o755
	var data strings.Builder
	const blocks, size = 256, 4096
	for n := range blocks {
		data.WriteString(strings.Repeat(fmt.Sprintf("block %04d padding", n), size)[:size])
	}
	return string(acitest.Tar(t, acitest.Manifest("example.com/app", `{"exec":["/bin/busybox"],"user":"0","group":"0"}`),
		acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), program, acitest.Link('2', "rootfs/bin/sh", "busybox"), acitest.File("rootfs/data", data.String())))
}
