package trust_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/trust"
)

// places are keyrings in folders of the test, filled by the level's own user.
type places struct {
	t testing.TB
	trust.KeyringPlaces
}

func newPlaces(t testing.TB) places {
	dir := t.TempDir()
	return places{t, trust.KeyringPlaces{
		User: filepath.Join(dir, "home"), System: filepath.Join(dir, "etc"), Vendor: filepath.Join(dir, "usr"),
	}}
}

func (p places) open() *trust.Keyring {
	p.t.Helper()
	k, err := p.Open()
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

// at opens one level's folder alone, to fill it.
func (p places) at(dir string) *trust.Keyring {
	p.t.Helper()
	k, err := trust.KeyringPlaces{Chosen: dir}.Open()
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

// ok reports whether what the signer has signed may run.
func (p places) ok(s signer) error {
	d := manifest("m")
	_, err := decideOCI(p.open(), s.simple(payload(string(repo), d, "{}")), d)
	return err
}

func TestLevels(t *testing.T) {
	p := newPlaces(t)
	user, system, vendor := newSigner(t, "ecdsa"), newSigner(t, "ecdsa"), newSigner(t, "ecdsa")
	add(t, p.at(p.User), "", user.pub())
	add(t, p.at(p.System), string(repo), system.pub())
	add(t, p.at(p.Vendor), string(repo), vendor.pub())
	for _, s := range []signer{user, system, vendor} {
		if err := p.ok(s); err != nil {
			t.Error(err)
		}
	}
	keys, err := p.open().List()
	if err != nil || len(keys) != 3 {
		t.Fatalf("%v, %v", keys, err)
	}
	levels := map[string]trust.Level{user.fingerprint(): trust.LevelUser, system.fingerprint(): trust.LevelSystem, vendor.fingerprint(): trust.LevelVendor}
	for _, k := range keys {
		if k.Level != levels[k.Fingerprint] {
			t.Errorf("%+v", k)
		}
		if _, err := os.Stat(k.File); err != nil {
			t.Error(err)
		}
	}
	// What a user adds goes to the user's own, and only that is the user's to remove.
	added := newSigner(t, "ecdsa")
	if keys := add(t, p.open(), "a.example.com", added.pub()); keys[0].Level != trust.LevelUser || !strings.HasPrefix(keys[0].File, p.User) {
		t.Errorf("added %+v", keys[0])
	}
	err = p.open().Remove(string(repo), system.fingerprint())
	if err == nil || !strings.Contains(err.Error(), "not yours to remove") {
		t.Errorf("got %v", err)
	}
	// A folder that was named takes the place of all of them.
	p.Chosen = t.TempDir()
	for _, s := range []signer{user, system, vendor} {
		if p.ok(s) == nil {
			t.Error("a key counts that lies elsewhere")
		}
	}
}

func TestMask(t *testing.T) {
	for name, mask := range map[string]func(path string) error{
		"empty file":        func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"link to /dev/null": func(path string) error { return os.Symlink(os.DevNull, path) },
	} {
		p := newPlaces(t)
		vendor, other := newSigner(t, "ecdsa"), newSigner(t, "ed25519")
		add(t, p.at(p.Vendor), string(repo), append(vendor.pub(), other.pub()...))
		dir := filepath.Join(p.System, "trust.d", "prefix.d", "registry.example.com:5000%2Fteam%2Fapp")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := mask(filepath.Join(dir, vendor.fingerprint()+".pub")); err != nil {
			t.Fatal(err)
		}
		if err := p.ok(vendor); err == nil || !strings.Contains(err.Error(), "not by a trusted key") {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.ok(other); err != nil {
			t.Errorf("%s masks another key: %v", name, err)
		}
		// Only of the vendor's: a user's own file cannot be taken away like that.
		add(t, p.at(p.User), string(repo), vendor.pub())
		if err := p.ok(vendor); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// In a user's part an empty file is a damaged key.
	p := newPlaces(t)
	s := newSigner(t, "ecdsa")
	keys := add(t, p.open(), "", s.pub())
	write(t, keys[0].File, "")
	if err := p.ok(s); err == nil || !strings.Contains(err.Error(), keys[0].File) {
		t.Errorf("got %v", err)
	}
}

// TestRevoke lets each level revoke what any level trusts.
func TestRevoke(t *testing.T) {
	for _, by := range []trust.Level{trust.LevelUser, trust.LevelSystem, trust.LevelVendor} {
		for _, of := range []trust.Level{trust.LevelUser, trust.LevelSystem, trust.LevelVendor} {
			p := newPlaces(t)
			dirs := map[trust.Level]string{trust.LevelUser: p.User, trust.LevelSystem: p.System, trust.LevelVendor: p.Vendor}
			s, other := newSigner(t, "ecdsa"), newSigner(t, "ecdsa")
			add(t, p.at(dirs[of]), "", append(s.pub(), other.pub()...))
			if err := p.at(dirs[by]).Revoke(strings.ToLower(s.fingerprint()), "key was lost"); err != nil {
				t.Fatal(err)
			}
			if err := p.ok(s); err == nil || !strings.Contains(err.Error(), "was revoked in the keyring ("+string(by)+")") || !strings.Contains(err.Error(), "key was lost") {
				t.Errorf("%s revokes, %s trusts: %v", by, of, err)
			}
			if err := p.ok(other); err != nil {
				t.Errorf("another key is revoked, too: %v", err)
			}
			if _, err := p.open().Add(string(repo), strings.NewReader(string(s.pub()))); err == nil || !strings.Contains(err.Error(), "was revoked") {
				t.Errorf("a revoked key was added again: %v", err)
			}
			keys, err := p.open().List()
			if err != nil || len(keys) != 2 {
				t.Fatal(keys, err)
			}
			for _, k := range keys {
				if (k.Unusable != "") != (k.Fingerprint == s.fingerprint()) {
					t.Errorf("listed as %+v", k)
				}
			}
		}
	}
}

func TestRevokedBySystemEverywhere(t *testing.T) {
	p := newPlaces(t)
	s := newSigner(t, "ecdsa")
	p.Chosen = t.TempDir()
	add(t, p.open(), "", s.pub())
	if err := p.ok(s); err != nil {
		t.Fatal(err)
	}
	if err := p.at(p.System).Revoke(s.fingerprint(), ""); err != nil {
		t.Fatal(err)
	}
	if err := p.ok(s); err == nil || !strings.Contains(err.Error(), "was revoked in the keyring (system)") {
		t.Errorf("another folder gets around the administrator: %v", err)
	}
	for _, bad := range []string{"", "12", s.fingerprint()[:40] + "x", "../" + s.fingerprint()} {
		if err := p.open().Revoke(bad, ""); err == nil {
			t.Errorf("revoked %q", bad)
		}
	}
	if err := p.open().Revoke(s.fingerprint(), "two\nlines"); err == nil {
		t.Error("took a reason of two lines")
	}
	// A file that may have been meant to revoke something stops everything.
	write(t, filepath.Join(p.Chosen, "trust.d", "other"), "")
	if err := os.MkdirAll(filepath.Join(p.Chosen, "trust.d", "revoked.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(p.Chosen, "trust.d", "revoked.d", strings.ToLower(s.fingerprint())), "")
	if _, err := p.open().List(); err == nil || !strings.Contains(err.Error(), "upper case") {
		t.Errorf("got %v", err)
	}
}

func TestRevokeOpenPGP(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("jo@example.com", "ed25519", "sign", "never")
	k := newKeyring(t)
	add(t, k, string(name), g.export(fpr))
	signature := g.sign(data, fpr)
	accept(t, k, signature, fpr)
	if err := k.Revoke(fpr, ""); err != nil {
		t.Fatal(err)
	}
	refuse(t, k, data, signature, "is by a key that was revoked in the keyring")
}

func TestNoHome(t *testing.T) {
	p := newPlaces(t)
	s := newSigner(t, "ecdsa")
	add(t, p.at(p.System), "", s.pub())
	p.User = ""
	if err := p.ok(s); err != nil {
		t.Errorf("without a home: %v", err)
	}
	if os.Geteuid() == 0 {
		return // then the system's is one's own
	}
	if _, err := p.open().Add("", strings.NewReader(string(s.pub()))); err == nil || !strings.Contains(err.Error(), "XDG_CONFIG_HOME") {
		t.Errorf("got %v", err)
	}
}

// TestSignersOfTheSystem keeps a user from vouching for what only the system may.
func TestSignersOfTheSystem(t *testing.T) {
	d := manifest("m")
	for _, tc := range []struct {
		levels string // that trust the key
		system bool
	}{{"user", false}, {"system", true}, {"vendor", true}, {"user, system", true}, {"user, vendor", true}} {
		p := newPlaces(t)
		s := newSigner(t, "ecdsa")
		for level, dir := range map[string]string{"user": p.User, "system": p.System, "vendor": p.Vendor} {
			if strings.Contains(tc.levels, level) {
				add(t, p.at(dir), string(repo), s.pub())
			}
		}
		e, err := p.open().ExamineOCI([]image.Digest{d}, repo, s.simple(payload(string(repo), d, "{}")))
		if err != nil {
			t.Fatal(err)
		}
		for word, ok := range map[string]bool{"keyring": true, "system": tc.system, "[" + s.fingerprint() + "]": true} {
			r := trust.Request{Name: repo, Digest: d, Source: d, Evidence: e}
			r.Policy = policy(t, rules("name: a\n  match: {name: \"**\"}\n  require: {signers: "+word+"}"))
			if _, err := trust.Decide(r); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "the system trusts") {
				t.Errorf("%s, signers: %s: %v", tc.levels, word, err)
			}
		}
	}
	// A scope of the system's for another name does not help.
	p := newPlaces(t)
	s := newSigner(t, "ecdsa")
	add(t, p.at(p.User), string(repo), s.pub())
	add(t, p.at(p.System), "other.example.com", s.pub())
	e, err := p.open().ExamineOCI([]image.Digest{d}, repo, s.simple(payload(string(repo), d, "{}")))
	if err != nil {
		t.Fatal(err)
	}
	r := trust.Request{Name: repo, Digest: d, Source: d, Evidence: e, Policy: policy(t, rules("name: a\n  match: {name: \"**\"}\n  require: {signers: system}"))}
	if v, err := trust.Decide(r); err == nil {
		t.Errorf("granted: %s", v.How())
	}
}
