package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/clearrun/clearrun/vmm/launch"
	"github.com/clearrun/clearrun/vmrun/bootlab"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// lab is where one measurement takes place.
type lab struct {
	build, dir, clearrun string
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// makeImage makes a signed image whose app is a static program that exits at
// once, and trusts its signer.
func (l *lab) makeImage() error {
	root := l.path("root")
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	source := l.path("true.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		return err
	}
	if err := l.tool("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(root, "bin/true"), source); err != nil {
		return err
	}
	if err := l.tool("go", "run", "./hack/mkaci", "-name", "example.com/bench", "-version", "1", "-root", root,
		"-exec", `["/bin/true"]`, "-o", l.path("bench.aci")); err != nil {
		return err
	}
	if err := l.sign(l.path("bench.aci")); err != nil {
		return err
	}
	if err := l.tool(l.clearrun, "trust", "add", "--store", l.path("store"), "--config-dir", l.path("config"),
		"--prefix", "example.com/bench", "--yes", l.path("key.asc")); err != nil {
		return err
	}
	return os.WriteFile(l.path("config/policy.yaml"), []byte(policy), 0o600)
}

// policy allows the image at both tiers that are measured.
const policy = "rules:\n- name: bench\n  match: {name: \"**\"}\n  require: {signers: keyring}\n  tiers: [vm, ns]\n"

// sign makes a key and a detached signature of the file beside it.
func (l *lab) sign(path string) error {
	e, err := openpgp.NewEntity("bench", "", "bench@example.com", nil)
	if err != nil {
		return err
	}
	var key bytes.Buffer
	w, err := armor.Encode(&key, openpgp.PublicKeyType, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(e.Serialize(w), w.Close()); err != nil {
		return err
	}
	if err := os.WriteFile(l.path("key.asc"), key.Bytes(), 0o644); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var signature bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&signature, []*openpgp.Entity{e}, f, nil); err != nil {
		return err
	}
	return os.WriteFile(path+".asc", signature.Bytes(), 0o644)
}

// tool runs a command that must succeed.
func (l *lab) tool(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// runArgs is how every measured VM is run: 128 MiB, one vCPU, quiet.
func (l *lab) runArgs(more ...string) []string {
	args := []string{"run", "--vm", "--store", l.path("store"), "--config-dir", l.path("config"), "--memory", "128M", "--cpus", "1"}
	return append(append(args, more...), l.path("bench.aci"))
}

// boot runs the app in a real VM and gives the monitor's figures.
func (l *lab) boot() (launch.Report, error) {
	var r launch.Report
	stats := l.path("stats.json")
	// The first run renders the image; the second one is a start as users see it.
	for range 2 {
		if err := l.tool(l.clearrun, l.runArgs("--stats", stats)...); err != nil {
			return r, err
		}
	}
	data, err := os.ReadFile(stats)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(data, &r)
}

// memory of every measured VM, in bytes.
const memory = 128 << 20

// starts are median times from the start of a process to the first instructions of
// its guest.
type starts struct {
	clearrun, monitor, qemu, minimal time.Duration
	qemuVersion                      string
}

func (l *lab) start(runs int) (starts, error) {
	var s starts
	exe, err := l.payloadExe()
	if err != nil {
		return s, err
	}
	kernel := l.path(payloadKernel)
	if s.qemuVersion, err = bootlab.CheckQEMU(); err != nil {
		return s, err
	}
	if err := l.makeMinimal(); err != nil {
		return s, err
	}
	turns := []struct {
		into  *time.Duration
		start func() (time.Duration, error)
		took  []time.Duration
	}{
		// The guest says nothing of an app, which clearrun rightly calls a failure.
		{into: &s.clearrun, start: func() (time.Duration, error) { return timeGuest(exe, l.runArgs("--console"), 125) }},
		{into: &s.monitor, start: func() (time.Duration, error) { return l.monitorAlone(kernel) }},
		{into: &s.qemu, start: func() (time.Duration, error) { return bootlab.TimeQEMU(context.Background(), kernel, memory) }},
		{into: &s.minimal, start: func() (time.Duration, error) { return timeGuest(l.path(minimal), []string{kernel}, 0) }},
	}
	for range runs {
		// What the kernel still has to clear up after one costs the next: each follows any.
		for _, i := range rand.Perm(len(turns)) {
			t, err := turns[i].start()
			if err != nil {
				return s, err
			}
			turns[i].took = append(turns[i].took, t)
		}
	}
	for _, t := range turns {
		*t.into = median(t.took)
	}
	return s, nil
}

// payloadKernel is a guest that ends with its first instructions.
const payloadKernel = "payload.elf"

// payloadExe makes a clearrun whose guest is payloadKernel.
func (l *lab) payloadExe() (string, error) {
	kernel, exe := l.path(payloadKernel), l.path("clearrun-payload")
	if err := os.WriteFile(kernel, bootlab.Payload(), 0o644); err != nil {
		return "", err
	}
	f, err := os.OpenFile(exe, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return "", err
	}
	err = bundle.Write(f, filepath.Join(l.build, "clearrun.bare"), []bundle.File{
		{Name: bundle.Kernel, Path: kernel},
		{Name: bundle.Initramfs, Path: filepath.Join(l.build, "initramfs.cpio")},
		{Name: bundle.Monitor, Path: filepath.Join(l.build, "clearrun-monitor")},
	})
	return exe, errors.Join(err, f.Close())
}

// timeGuest times a command that passes its guest's console on, up to the guest's first
// byte. It must end with the exit code want.
func timeGuest(name string, args []string, want int) (time.Duration, error) {
	first, err := bootlab.WatchFirstByte()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = first.Console, first.Console
	began := time.Now()
	err = cmd.Run()
	took, silent := first.Since(began)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
		return 0, fmt.Errorf("%s: %v, want exit code %d", name, err, want)
	}
	return took, silent
}

// timed runs a command that must end with the exit code want.
func timed(name string, args []string, want int) (time.Duration, error) {
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
		return 0, fmt.Errorf("%s: %v, want exit code %d: %s", name, err, want, out.Bytes())
	}
	return took, nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
