package selinux

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/clearrun/clearrun/image/acitest"
)

// patience bounds the emulated machine, which takes about ten seconds.
const patience = 5 * time.Minute

// build is where make has put things.
const build = "../../build/"

var modules = []string{"libcrc32c", "erofs", "overlay", "loop"}

const policy = "rules:\n- name: test\n  match: {name: \"**\"}\n  require: {none: true}\n  tiers: [ns]\n"

// TestContainersAreApart boots the machine. What happens in it is in guest/checks.go; that
// it was SELinux which kept A from B and the host, the kernel's audit messages must say.
func TestContainersAreApart(t *testing.T) {
	console, said := boot(t)
	if !strings.Contains(said, "GUEST DONE") || strings.Contains(said, "GUEST FAILED") {
		t.Fatalf("the guest did not get through:\n%s\n%s", said, tail(console))
	}
	checks := regexp.MustCompile(`(?m)^CHECK (.*): (ok|FAILED) (.*)$`).FindAllStringSubmatch(said, -1)
	if len(checks) != 11 {
		t.Errorf("%d checks, want 11:\n%s", len(checks), said)
	}
	for _, c := range checks {
		if c[2] != "ok" {
			t.Errorf("%s: %s", c[1], c[3])
		}
	}
	a, b := label(t, said, "A"), label(t, said, "B")
	file := strings.Replace(b, "system_r:container_t", "object_r:container_file_t", 1)
	for _, denial := range []string{
		`\{ search \} .* scontext=` + a + ` tcontext=` + file + ` tclass=dir permissive=0`,
		`\{ search \} .* scontext=` + a + ` tcontext=\S+:user_tmpfs_t:s0 tclass=dir permissive=0`,
		`\{ sigkill \} .* scontext=` + a + ` tcontext=` + b + ` tclass=process permissive=0`,
		`\{ sigkill \} .* scontext=` + a + ` tcontext=` + b + ` tclass=process permissive=1`,
	} {
		if !regexp.MustCompile(`avc:  denied  ` + denial).MatchString(console) {
			t.Errorf("the kernel did not say: avc: denied %s\n%s", denial, tail(console))
		}
	}
}

// label finds what the guest says about a container.
func label(t *testing.T, said, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^LABEL ` + name + ` (system_u:system_r:container_t:s0:c\d+,c\d+)$`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("container %s has no label of its own:\n%s", name, said)
	}
	return m[1]
}

// boot runs the machine to its end. It gives the kernel's console, and what the guest said
// on another line, into which no kernel message can break.
func boot(t *testing.T) (console, said string) {
	t.Helper()
	for _, path := range []string{"selinux/key", "clearrun"} {
		if _, err := os.Stat(build + path); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("there is no build/%s: run make test-selinux", path)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report := filepath.Join(t.TempDir(), "report")
	// One CPU: emulated ones that run side by side have hung where the kernel patches its code.
	qemu := exec.CommandContext(ctx, "nice", "-n", "10", "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max",
		"-m", "1024", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-serial", "file:"+report,
		"-kernel", build+"selinux/vmlinuz", "-initrd", initramfs(t), "-append", "console=ttyS0 security=selinux selinux=1 audit=1 audit_backlog_limit=8192 panic=-1")
	out, err := qemu.CombinedOutput()
	plain := strings.NewReplacer("\r", "", "\x00", "")
	console = plain.Replace(string(out))
	if err != nil {
		t.Fatalf("QEMU: %v\n%s", err, tail(console))
	}
	return console, plain.Replace(read(t, report))
}

func tail(s string) string { return s[max(0, len(s)-12000):] }

// initramfs packs the guest's files.
func initramfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	guest := filepath.Join(dir, "guest")
	compile := exec.Command("go", "build", "-o", guest, "./guest")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	records := []cpio.Record{cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.CharDev("dev/null", 0o666, 1, 3)}
	for _, d := range []string{"proc", "sys", "tmp", "var", "bin", "modules", "sysroot"} {
		records = append(records, cpio.Directory(d, 0o755))
	}
	records = append(records,
		cpio.StaticFile("init", read(t, guest), 0o755),
		cpio.StaticFile("bin/clearrun", read(t, build+"clearrun"), 0o755),
		cpio.StaticFile("policy", read(t, build+"selinux/policy"), 0o644),
		cpio.StaticFile("policy.yaml", policy, 0o644),
		cpio.StaticFile("app.aci", app(t), 0o644))
	for _, m := range modules {
		records = append(records, cpio.StaticFile("modules/"+m+".ko", read(t, build+"selinux/modules/"+m+".ko"), 0o644))
	}
	f, err := os.Create(filepath.Join(dir, "initramfs"))
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
	return f.Name()
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// app is an image of busybox.
func app(t *testing.T) string {
	program := acitest.File("rootfs/bin/busybox", read(t, "/bin/busybox"))
	program.Mode = 0o755
	return string(acitest.Tar(t, acitest.Manifest("example.com/app", `{"exec":["/bin/busybox"],"user":"0","group":"0"}`),
		acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), program, acitest.Link('2', "rootfs/bin/sh", "busybox")))
}
