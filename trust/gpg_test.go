package trust_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gnupg is a private GnuPG home with an agent of its own, both gone after the test.
type gnupg struct {
	t    testing.TB
	home string
}

func newGnuPG(t testing.TB) *gnupg {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("no gpg")
	}
	// Not t.TempDir: the agent's socket must fit into 108 bytes.
	home, err := os.MkdirTemp("", "gpg-")
	if err != nil {
		t.Fatal(err)
	}
	g := &gnupg{t, home}
	t.Cleanup(func() {
		g.command("gpgconf", "--kill", "all").Run()
		os.RemoveAll(home)
	})
	return g
}

func (g *gnupg) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+g.home, "LC_ALL=C")
	return cmd
}

// run runs gpg with stdin and returns its output.
func (g *gnupg) run(stdin string, args ...string) []byte {
	g.t.Helper()
	cmd := g.command("gpg", append([]string{"--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(string(exit.Stderr))
		}
		g.t.Fatalf("gpg %q: %v", args, err)
	}
	return out
}

// key makes a key and returns its fingerprint. extra goes before the command.
func (g *gnupg) key(user, algorithm, usage, expire string, extra ...string) string {
	g.t.Helper()
	g.run("", append(extra, "--quick-generate-key", user, algorithm, usage, expire)...)
	for line := range strings.SplitSeq(string(g.run("", "--list-keys", "--with-colons", user)), "\n") {
		if fpr, ok := strings.CutPrefix(line, "fpr:::::::::"); ok {
			return strings.TrimSuffix(fpr, ":")
		}
	}
	g.t.Fatalf("no fingerprint of %s", user)
	return ""
}

func (g *gnupg) export(users ...string) []byte {
	return g.run("", append([]string{"--armor", "--export"}, users...)...)
}

// sign makes a detached, armored signature of data.
func (g *gnupg) sign(data []byte, user string, extra ...string) []byte {
	g.t.Helper()
	return g.run(string(data), append([]string{"--local-user", user, "--armor", "--detach-sign"}, extra...)...)
}

// revoke applies the revocation certificate that gpg makes with every key.
func (g *gnupg) revoke(fingerprint string) {
	g.t.Helper()
	cert, err := os.ReadFile(filepath.Join(g.home, "openpgp-revocs.d", fingerprint+".rev"))
	if err != nil {
		g.t.Fatal(err)
	}
	// A colon keeps it from being used by mistake.
	g.run(string(bytes.Replace(cert, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1)), "--import")
}
