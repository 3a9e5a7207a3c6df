package vm

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/vmrun/bundle"
)

// TestUsageRefused: what cannot be meant is refused before anything is run.
func TestUsageRefused(t *testing.T) {
	for _, c := range []struct {
		args []string // IMAGE stands for the probe image
		says string
	}{
		{[]string{"--no-such-flag", "IMAGE"}, "--no-such-flag"},
		{[]string{"run"}, "no image given"},
		{[]string{"IMAGE", "IMAGE"}, "behind --"},
		{[]string{"/no/such/image.aci"}, "/no/such/image.aci"},
		{[]string{"/"}, "is a folder"},
		{[]string{"--cpus", "33", "IMAGE"}, "--cpus 33: want 1 to 32"},
		{[]string{"--cpus", "-1", "IMAGE"}, "--cpus -1: want 1 to 32"},
		{[]string{"--cpus", "0", "IMAGE"}, "--cpus 0: want 1 to 32"},
		{[]string{"--memory", "63M", "IMAGE"}, "--memory 63M: want 64M to 64G"},
		{[]string{"--memory", "65G", "IMAGE"}, "--memory 65G: want 64M to 64G"},
		{[]string{"--memory", "lots", "IMAGE"}, "lots"},
		{[]string{"--timeout", "-1s", "IMAGE"}, "--timeout -1s"},
		{[]string{"-t", "-i", "IMAGE"}, "terminal"},
		{[]string{"--user", ":1", "IMAGE"}, `":1"`},
		{[]string{"--hostname", "-x", "IMAGE"}, `"-x"`},
		{[]string{"--workdir", "srv", "IMAGE"}, `"srv"`},
		{[]string{"--cap-add", "FLY", "IMAGE"}, "FLY"},
		{[]string{"--env", "=x", "IMAGE"}, "=x"},
		{[]string{"--signature", "/no/such.asc", "IMAGE"}, "/no/such.asc"},
		{[]string{"--store"}, "--store"},
		{[]string{"trust"}, "want trust add, fetch, list, show, remove, revoke"},
		{[]string{"trust", "grant"}, "grant"},
		{[]string{"trust", "add", "KEY"}, "--prefix"},
		{[]string{"trust", "add", "--prefix", "a", "--root", "KEY"}, "--prefix"},
		{[]string{"trust", "add", "--prefix", "example.com", "KEY"}, "--yes"},
		{[]string{"trust", "add", "--prefix", "example.com", "--fingerprint", "AB12", "KEY"}, "AB12"},
		{[]string{"trust", "add", "--prefix", "example.com", "--yes", "IMAGE"}, "probe.aci"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var args []string
			for _, a := range c.args {
				switch a {
				case "IMAGE":
					a = shared.probe
				case "KEY":
					a = shared.keyFile(shared.mallory)
				}
				args = append(args, a)
			}
			run(t, shared.place, args...).complains(t, exitFailure, c.says)
		})
	}
	t.Run("without arguments", func(t *testing.T) {
		r := run(t, place{"/none", "/none"})
		r.check(t, exitFailure)
		if !strings.Contains(r.stderr, "no image given") {
			t.Errorf("stderr: %q", r.stderr)
		}
	})
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"--help"}, []string{"clearrun [--vm|--ns|--host] [options] IMAGE [-- ARGUMENT...]", "run ", "trust ", "doctor ", "version ", "125", "126", "127", "124"}},
		{[]string{"help"}, []string{"clearrun COMMAND [options]"}},
		{[]string{"run", "--help"}, []string{
			"--vm", "--memory", "--cpus", "--env", "--user", "--workdir", "--tty", "-t,", "--interactive", "-i,", "--console",
			"--hostname", "--read-only", "--timeout", "--insecure-no-verify", "--signature", "--entrypoint", "--cap-add",
			"--cap-drop", "--no-new-privileges", "--store", "--config-dir", "IMAGE [-- ARGUMENT...]",
		}},
		{[]string{"trust", "--help"}, []string{"trust add", "trust list", "trust show", "trust remove", "trust revoke"}},
		{[]string{"trust", "add", "--help"}, []string{"--prefix", "--root", "--fingerprint", "--yes"}},
		{[]string{"trust", "list", "--help"}, []string{"--json"}},
		{[]string{"trust", "remove", "--help"}, []string{"--prefix", "FINGERPRINT"}},
		{[]string{"doctor", "--help"}, []string{"--json"}},
		{[]string{"version", "--help"}, []string{"--json"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r := run(t, shared.place, c.args...)
			r.check(t, 0)
			for _, want := range c.says {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("%q is missing:\n%v", want, r)
				}
			}
			if r.stderr != "" {
				t.Errorf("stderr: %q", r.stderr)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	r := run(t, shared.place, "version")
	r.check(t, 0)
	j := run(t, shared.place, "version", "--json")
	j.check(t, 0)
	var v struct {
		Version, Go string
		Parts       map[string]string
	}
	if err := json.Unmarshal([]byte(j.stdout), &v); err != nil {
		t.Fatalf("%v\n%v", err, j)
	}
	want := "clearrun " + v.Version + " (" + v.Go + ")\n"
	for _, part := range []string{bundle.Kernel, bundle.Initramfs, bundle.Monitor} {
		if len(v.Parts[part]) != 64 {
			t.Errorf("%s: %q is no SHA-256", part, v.Parts[part])
		}
		want += part + strings.Repeat(" ", len("initramfs  ")-len(part)) + "sha256:" + v.Parts[part] + "\n"
	}
	if v.Version == "" || r.stdout != want {
		t.Errorf("version prints %q, want %q", r.stdout, want)
	}
}

// TestTrustListAndRemove takes a key away again: then its signatures count no more.
func TestTrustListAndRemove(t *testing.T) {
	p := fresh(t)
	run(t, p, "trust", "add", "--root", "--yes", shared.keyFile(shared.alice)).check(t, 0)
	r := run(t, p, "trust", "list", "--json")
	r.check(t, 0)
	var keys []struct {
		Prefix, Fingerprint string
		Identities          []string
	}
	if err := json.Unmarshal([]byte(r.stdout), &keys); err != nil || len(keys) != 1 {
		t.Fatalf("%d keys, %v\n%v", len(keys), err, r)
	}
	if k := keys[0]; k.Prefix != "" || len(k.Fingerprint) != 40 || len(k.Identities) != 1 || k.Identities[0] != shared.alice {
		t.Errorf("key %+v", k)
	}
	run(t, p, "trust", "remove", "--root", keys[0].Fingerprint).check(t, 0)
	run(t, p, shared.probe).complains(t, exitFailure, shared.probe, "is not trusted")
}
