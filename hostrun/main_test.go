package hostrun_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

func TestMain(m *testing.M) {
	if code, done := hostrun.Stage(os.Args); done {
		os.Exit(code)
	}
	code := m.Run()
	if shared.dir != "" && os.Getenv(rootlessDir) == "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// shared is made once: a bundle with PID 1 as make build builds it, and a store with
// the test's image.
var shared struct {
	dir   string
	host  *bundle.Bundle
	err   error
	store *store.Store
}

// image is the test's ACI, a file.
func setUp(t *testing.T) (aci string) {
	t.Helper()
	dir := os.Getenv(rootlessDir) // of root as well, in TestUserNamespace
	if os.Geteuid() != 0 && dir == "" {
		t.Skip("needs root, which tests users without its rights, too (TestRootless)")
	}
	if shared.dir == "" && shared.err == nil && dir != "" {
		shared.dir = dir
		shared.err = openShared()
	}
	if shared.dir == "" && shared.err == nil {
		shared.err = makeShared(t)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return filepath.Join(shared.dir, "app.aci")
}

func makeShared(t *testing.T) (err error) {
	if shared.dir, err = os.MkdirTemp("", "clearrun-ns-"); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(shared.dir, name) }
	for _, args := range [][]string{
		{"run", "./hack/initruntime", "-o", in("runtime")},
		{"build", "-trimpath", "-overlay", in("runtime/overlay.json"), "-o", in("init"), "./guest/init"},
		{"build", "-trimpath", "-o", in("probe"), "./hostrun/probe"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	var packed bytes.Buffer
	if err := bundle.Write(&packed, "/dev/null", []bundle.File{{Name: bundle.Init, Path: in("init")}}); err != nil {
		return err
	}
	if err := os.WriteFile(in("bundle"), packed.Bytes(), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(in("app.aci"), makeImage(t), 0o600); err != nil {
		return err
	}
	return openShared()
}

// openShared opens what is in the folder.
func openShared() (err error) {
	in := func(name string) string { return filepath.Join(shared.dir, name) }
	if shared.host, err = bundle.Open(in("bundle")); err != nil {
		return err
	}
	shared.store, err = store.Open(store.Options{Dir: in("store"), KeyFile: in("store.key")})
	return err
}

// makeImage packs busybox and the probe.
func makeImage(t *testing.T) []byte {
	program := func(name, path string, mode int64) acitest.Entry {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		e := acitest.File(name, string(data))
		e.Mode = mode
		return e
	}
	busybox := program("rootfs/bin/busybox", "/bin/busybox", 0o755)
	entries := []acitest.Entry{
		acitest.Manifest("example.com/app", `{"exec":["/bin/sh"],"user":"0","group":"0"}`),
		acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), acitest.Dir("rootfs/etc"), busybox,
		program("rootfs/bin/probe", filepath.Join(shared.dir, "probe"), 0o4755), // set-user-ID root
		acitest.File("rootfs/etc/passwd", "root:x:0:0::/root:/bin/sh\nworker:x:1234:2345::/home/worker:/bin/sh\n"),
		acitest.File("rootfs/etc/motd", "from the image\n"),
	}
	for _, applet := range strings.Fields("sh cat echo id ls mount mkdir mknod ps kill sleep hostname ip dd touch ln head wc env test true grep stty umount chroot chmod cp rm od sysctl nproc unshare tail tr") {
		entries = append(entries, acitest.Link('2', "rootfs/bin/"+applet, "busybox"))
	}
	return acitest.Tar(t, entries...)
}

// policyNS lets the test's images run in tier ns, unsigned.
const policyNS = `rules:
- name: test
  match: {name: "**"}
  require: {none: true}
  tiers: [ns]
  allow: {networks: [none, user, host], volumes: ["/:rw"]}
`

// openPod makes the Pod of an image.
func openPod(t *testing.T, path, policy string, o pod.Overrides) *pod.Pod {
	t.Helper()
	rules, err := trust.ParsePolicy("test", []byte(policy), pod.Vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := trust.OpenKeyring(filepath.Join(shared.dir, "trust.d"))
	if err != nil {
		t.Fatal(err)
	}
	if o.UserNS == "" && strings.Contains(policy, "[ns]") {
		o.UserNS = os.Getenv(userNSVariable)
	}
	p, err := pod.Open(context.Background(), pod.Options{Path: path, Store: shared.store, Keyring: keys, Policy: rules, Overrides: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// result is how a run ended.
type result struct {
	code           int
	err            error
	stdout, stderr string
}

// run runs a command in the test's image.
func run(t *testing.T, o pod.Overrides, stdin string, command ...string) result {
	t.Helper()
	aci := setUp(t)
	o.Entrypoint, o.Args = command[:1], command[1:]
	o.Stdin = stdin != ""
	return runPod(t, openPod(t, aci, policyNS, o), attach.Streams{Stdin: strings.NewReader(stdin)})
}

func runPod(t *testing.T, p *pod.Pod, s attach.Streams) result {
	t.Helper()
	var out, errs bytes.Buffer
	if s.Stdout == nil {
		s.Stdout, s.Stderr = &out, &errs
	}
	code, err := hostrun.Run(t.Context(), p, hostrun.Options{Bundle: shared.host, Streams: s})
	return result{code, err, out.String(), errs.String()}
}

// shell runs a script of busybox's shell.
func shell(t *testing.T, o pod.Overrides, script string) result {
	t.Helper()
	return run(t, o, "", "/bin/sh", "-c", script)
}

// want checks a whole result.
func (r result) want(t *testing.T, code int, stdout string) {
	t.Helper()
	if r.code != code || r.err != nil || r.stdout != stdout {
		t.Errorf("exit code %d, %v\nstdout %q, want code %d and %q\nstderr %q", r.code, r.err, r.stdout, code, stdout, r.stderr)
	}
}
