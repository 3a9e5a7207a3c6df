package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/trust"
)

// keyFile writes a new cosign key and returns its path and fingerprint.
func keyFile(t *testing.T) (path, fingerprint string) {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "cosign.pub")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, fmt.Sprintf("%X", sha256.Sum256(der))
}

func TestTrustCommand(t *testing.T) {
	dir := t.TempDir()
	path, fpr := keyFile(t)
	_, foreign := keyFile(t)
	prefix := []string{"--prefix", "r.example.com/team"}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"list", "--json"}, 0, "[]"},
		{[]string{"show", path}, 0, "Ed25519"},
		{[]string{"show", fpr}, 125, "no key " + fpr},
		{[]string{"show", "absent"}, 125, "neither a fingerprint nor a file"},
		{append([]string{"add", path}, prefix...), 125, "not a terminal"},
		{append([]string{"add", path, "--fingerprint", foreign}, prefix...), 125, "not " + foreign},
		{append([]string{"add", path, "--fingerprint", fpr[:16]}, prefix...), 125, "not a fingerprint"},
		{[]string{"list", "--json"}, 0, "[]"}, // nothing of that was trusted
		{append([]string{"add", path, "--json", "--fingerprint", "sha256:" + strings.ToLower(fpr)}, prefix...), 0, `"fingerprint": "` + fpr + `"`},
		{append([]string{"add", path, "--yes"}, prefix...), 0, "trusted for r.example.com/team: " + fpr},
		{[]string{"list"}, 0, "r.example.com/team "},
		{[]string{"show", grouped(fpr)}, 0, "trusted for: r.example.com/team (chosen, " + dir},
		{[]string{"remove", "--root", fpr}, 125, "no key " + fpr + " for all images"},
		{append([]string{"remove", "--json", fpr}, prefix...), 0, `"revoked": false`},
		{[]string{"list", "--json"}, 0, "[]"},
		{[]string{"add", path, "--root", "--yes"}, 0, "trusted for every image"},
		{[]string{"revoke", "--reason", "stolen", fpr}, 0, "to undo it"},
		{[]string{"list"}, 0, "stolen"},
		{[]string{"revoke", "--json", foreign}, 0, `"revoked": true`},
		{[]string{"add", path, "--root", "--yes"}, 125, "was revoked in the keyring (chosen): revoked on "},
		{[]string{"revoke", "x"}, 125, "not a fingerprint"},
	} {
		code, out := output(t, append([]string{"--config-dir", dir, "trust"}, tc.args...)...)
		if code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("trust %q: %d, %s; want %d, %s", tc.args, code, out, tc.code, tc.want)
		}
		if strings.Contains(strings.Join(tc.args, " "), "--json") && code == 0 && !json.Valid([]byte(out)) {
			t.Errorf("trust %q: no JSON: %s", tc.args, out)
		}
	}
}

// TestConfirm answers on a terminal.
func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Yes\n": true, "n\n": false, "\n": false, "\x04": false} {
		keyboard, terminal := openTerminal(t)
		dir := t.TempDir()
		path, fpr := keyFile(t)
		ring, err := trust.OpenKeyring(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keyboard.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		shown, err := os.Create(filepath.Join(dir, "shown"))
		if err != nil {
			t.Fatal(err)
		}
		defer shown.Close()
		added, err := addKeys(ring, scope{root: true}, path, confirmation{io: stdio{terminal, shown, shown}})
		if (err == nil) != want || (len(added) == 1) != want {
			t.Errorf("%q: added %v, %v", answer, added, err)
		}
		if text, err := os.ReadFile(shown.Name()); err != nil || !strings.Contains(string(text), grouped(fpr)) || !strings.Contains(string(text), "every image?") {
			t.Errorf("shown: %q, %v", text, err)
		}
	}
}

// openTerminal makes a pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}
