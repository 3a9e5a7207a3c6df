package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/trust/pcr"
	"github.com/clearrun/clearrun/trust/tpm"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// emulatedTPM starts a TPM and returns its socket.
func emulatedTPM(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "tpm")
	// The listener is made here and handed over, so that it is there before swtpm is.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,fd=3",
		"--ctrl", "type=unixio,path="+filepath.Join(dir, "ctrl"), "--flags", "not-need-init,startup-clear")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{f}, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run hack/deps.sh", err)
	}
	f.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		l.Close()
	})
	return socket
}

// measuredRun records one run, as clearrun run does before it starts anything.
func measuredRun(t *testing.T, dir, measurement string) error {
	t.Helper()
	text := "measurement: " + measurement + "\nrules: [{name: all, match: {name: \"**\"}, require: {none: true}}]\n"
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &runOptions{globals: globals{configDir: dir}}
	policy, err := o.policy()
	if err != nil {
		t.Fatal(err)
	}
	signed, _ := signedVerdict(t)
	digest := signed.ImageDigest()
	v, err := trust.Decide(trust.Request{Name: "a.b/c", Digest: digest, Source: digest, Evidence: trust.UnsignedOCI(digest), Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	d, err := o.decisions("x", &bundle.Bundle{})
	if err != nil {
		t.Fatal(err)
	}
	return d.allowed(&pod.Pod{Verdict: v})
}

func records(t *testing.T, dir string) (list []trust.Record) {
	t.Helper()
	l, err := globals{configDir: dir}.log()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Each(func(r trust.Record) error { list = append(list, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestMeasuredRuns(t *testing.T) {
	dir, socket := t.TempDir(), emulatedTPM(t)
	measurement := "{tpm: required, pcr: 16, device: " + socket + "}"
	var want pcr.Value
	for range 3 {
		if err := measuredRun(t, dir, measurement); err != nil {
			t.Fatal(err)
		}
	}
	list := records(t, dir)
	if len(list) != 6 {
		t.Fatalf("%d records", len(list))
	}
	for i := 0; i < len(list); i += 2 {
		hash, err := pcr.Parse(list[i].Hash)
		if err != nil {
			t.Fatal(err)
		}
		want = want.Extended(hash)
		if r := list[i+1]; r.Event != trust.EventMeasured || r.Run != list[i].Seq || r.Measured.PCR != 16 || r.Measured.After != want.String() {
			t.Errorf("record of the measurement: %+v", r)
		}
	}
	aci := filepath.Join(dir, "app.aci")
	if err := os.WriteFile(aci, acitest.Tar(t, acitest.Manifest("example.com/app", `{"exec":["/a"],"user":"0","group":"0"}`), acitest.Dir("rootfs")), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := output(t, "--config-dir", dir, "policy", "check", aci); code != 0 || !strings.Contains(out, "measured: into PCR 16 of "+socket+" (required)") {
		t.Errorf("policy check: exit code %d: %s", code, out)
	}
	register := tpm.Register{Device: socket, PCR: 16}
	if got, err := register.Read(); err != nil || got != want {
		t.Errorf("the PCR holds %v, %v; the log leads to %v", got, err, want)
	}
	verify := func(code int, words ...string) {
		t.Helper()
		got, out := output(t, "--config-dir", dir, "log", "verify", "--pcr")
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in %s", w, out)
			}
		}
		if got != code {
			t.Errorf("exit code %d, want %d: %s", got, code, out)
		}
	}
	verify(0, "PCR 16: 3 records", hex.EncodeToString(want[:]))

	// Whoever forges the log with right hashes is found by the PCR alone.
	whole := filepath.Join(dir, "log")
	kept := filepath.Join(dir, "kept")
	if err := os.Rename(whole, kept); err != nil {
		t.Fatal(err)
	}
	verify(1, "no record of this boot was measured")
	forge(t, dir, list, func(r *trust.Record) { r.Image = "a.b/other" })
	if code, out := output(t, "--config-dir", dir, "log", "verify"); code != 0 {
		t.Fatalf("the forged chain is not right in itself: %s", out)
	}
	verify(1, "record 1 is not the one that was measured")
	if err := os.RemoveAll(whole); err != nil {
		t.Fatal(err)
	}
	forge(t, dir, list[:4], func(*trust.Record) {})
	verify(1, "the log's records lead to")
	if err := os.RemoveAll(whole); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(kept, whole); err != nil {
		t.Fatal(err)
	}
	verify(0)

	// A decision that was measured before clearrun was killed, and something else.
	l, err := globals{configDir: dir}.log()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(trust.Record{Event: trust.EventAllowed}); err != nil {
		t.Fatal(err)
	}
	list = records(t, dir)
	hash, err := hex.DecodeString(list[len(list)-1].Hash)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := register.Extend([sha256.Size]byte(hash)); err != nil {
		t.Fatal(err)
	}
	verify(0)
	if err := measuredRun(t, dir, measurement); err != nil {
		t.Fatal(err)
	}
	verify(0, "PCR 16: 4 records")
	if _, _, err := register.Extend([sha256.Size]byte{1}); err != nil {
		t.Fatal(err)
	}
	verify(1, "something else measures into it")
}

// TestMeasuredAtOnce lets runs that start together measure into one PCR.
func TestMeasuredAtOnce(t *testing.T) {
	dir := t.TempDir()
	m := trust.MeasurementPolicy{TPM: trust.TPMRequired, PCR: 16, Device: emulatedTPM(t)}
	l, err := globals{configDir: dir}.log()
	if err != nil {
		t.Fatal(err)
	}
	var runs sync.WaitGroup
	for range 8 {
		runs.Go(func() {
			if _, err := l.AppendMeasured(trust.Record{Event: trust.EventAllowed}, m, measure(m)); err != nil {
				t.Error(err)
			}
		})
	}
	runs.Wait()
	p, err := l.ReplayPCR(m.PCR, tpm.Register{Device: m.Device, PCR: m.PCR}.Read)
	if err != nil || len(p.Faults) > 0 || p.Measured != 8 {
		t.Errorf("%+v, %v", p, err)
	}
}

// forge writes a log anew, with other records and right hashes.
func forge(t *testing.T, dir string, list []trust.Record, change func(*trust.Record)) {
	t.Helper()
	l, err := globals{configDir: dir}.log()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		change(&r)
		if _, err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoTPM(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	closed := filepath.Join(t.TempDir(), "closed") // a socket that nobody listens at
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: closed, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, device := range []string{absent, closed, "/dev/null"} {
		dir := t.TempDir()
		err := measuredRun(t, dir, fmt.Sprintf("{tpm: required, device: %s}", device))
		if err == nil || !strings.Contains(err.Error(), "make "+device+" usable") {
			t.Errorf("required, %s: %v", device, err)
		}
		if list := records(t, dir); len(list) != 2 || list[1].Event != trust.EventRefused || list[1].Run != 1 {
			t.Errorf("required, %s: %+v", device, list)
		}
		dir = t.TempDir()
		if err := measuredRun(t, dir, fmt.Sprintf("{tpm: optional, device: %s}", device)); err != nil {
			t.Errorf("optional, %s: %v", device, err)
		}
		if list := records(t, dir); len(list) != 2 || list[1].Event != trust.EventUnmeasured || list[1].Error == "" {
			t.Errorf("optional, %s: %+v", device, list)
		}
		if code, out := output(t, "--config-dir", dir, "log", "verify", "--pcr"); code != 125 {
			t.Errorf("%s was read: %d, %s", device, code, out)
		}
	}
	dir := t.TempDir()
	if err := measuredRun(t, dir, "{tpm: off}"); err != nil || len(records(t, dir)) != 1 {
		t.Errorf("off: %v", err)
	}
	if code, out := output(t, "--config-dir", dir, "log", "verify", "--pcr"); code != 125 || !strings.Contains(out, "has nothing measured") {
		t.Errorf("off: %d, %s", code, out)
	}
}
