package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// gpgCommand is a command that knows only the lab's own keys.
func (l *lab) gpgCommand(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+l.gnupg)
	return cmd
}

func (l *lab) gpg(args ...string) error {
	return runCommand(l.gpgCommand("gpg", append([]string{"--batch", "--quiet", "--yes"}, args...)...))
}

// makeKeys makes three people's keys, trusts two, and signs the probe image.
func (l *lab) makeKeys() error {
	if err := os.Mkdir(l.gnupg, 0o700); err != nil {
		return err
	}
	for _, who := range []struct {
		userID *string
		name   string
	}{{&l.alice, "alice"}, {&l.bob, "bob"}, {&l.mallory, "mallory"}} {
		*who.userID = who.name + "@example.com"
		err := l.gpg("--passphrase", "", "--quick-generate-key", *who.userID, "ed25519", "sign", "1d")
		if err != nil {
			return err
		}
		if err := l.gpg("--armor", "--output", l.keyFile(*who.userID), "--export", *who.userID); err != nil {
			return err
		}
	}
	for prefix, userID := range map[string]string{"example.com/app": l.alice, "example.com/other": l.bob} {
		args := append(l.args(), "trust", "add", "--yes", "--prefix", prefix, l.keyFile(userID))
		if err := command(l.clearrun, args...); err != nil {
			return err
		}
	}
	return l.sign(l.alice, l.probe)
}

func (l *lab) keyFile(userID string) string { return filepath.Join(l.dir, userID+".asc") }

// sign makes file.asc.
func (l *lab) sign(userID, file string) error {
	err := l.gpg("--local-user", userID, "--armor", "--output", file+".asc", "--detach-sign", file)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}

// copyOfProbe copies the probe image and its signature for a test to spoil.
func copyOfProbe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(shared.tempDir(t), "copy.aci")
	for _, suffix := range []string{"", ".asc"} {
		if err := copyFile(path+suffix, shared.probe+suffix, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// change applies f to the content of a file.
func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(data), info.Mode()); err != nil {
		t.Fatal(err)
	}
}
