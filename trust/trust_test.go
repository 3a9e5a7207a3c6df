package trust_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/trust"
)

const name image.Name = "example.com/app"

// data stands for an image as distributed; longer than one read.
var data = bytes.Repeat([]byte("an image, line by line\n"), 30_000)

func digest(b []byte) image.Digest { return image.SumSHA512(sha512.Sum512(b)) }

func newKeyring(t testing.TB) *trust.Keyring {
	t.Helper()
	k, err := trust.OpenKeyring(filepath.Join(t.TempDir(), "trust.d"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func add(t testing.TB, k *trust.Keyring, prefix string, key []byte) []trust.Key {
	t.Helper()
	keys, err := k.Add(prefix, bytes.NewReader(key))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// decide goes the whole way from bytes to Verdict.
func decide(k *trust.Keyring, signed, signature []byte) (trust.Verdict, error) {
	e, err := k.Examine(context.Background(), bytes.NewReader(signed), signature)
	if err != nil {
		return trust.Verdict{}, err
	}
	return trust.Decide(trust.Request{Name: name, Digest: digest([]byte("id")), Source: digest(signed), Evidence: e})
}

// accept asks for a Verdict that names the signer.
func accept(t *testing.T, k *trust.Keyring, signature []byte, fingerprint string) {
	t.Helper()
	v, err := decide(k, data, signature)
	if err != nil {
		t.Error(err)
		return
	}
	if v.Signer().Fingerprint != fingerprint || v.Tier() != trust.TierVM || !v.Grants(digest([]byte("id"))) {
		t.Errorf("got %+v, want the signer %s", v, fingerprint)
	}
	if !strings.Contains(v.How(), fingerprint) || !strings.Contains(v.How(), v.Signer().Identity) {
		t.Errorf("How: %s", v.How())
	}
}

// refuse asks for an error that says all of want.
func refuse(t *testing.T, k *trust.Keyring, signed, signature []byte, want ...string) {
	t.Helper()
	v, err := decide(k, signed, signature)
	if err == nil {
		t.Errorf("accepted: %s", v.How())
		return
	}
	if v != (trust.Verdict{}) {
		t.Error("an error came with a Verdict")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want it to say %q", err, w)
		}
	}
}

func TestKindsOfKeys(t *testing.T) {
	g := newGnuPG(t)
	for user, algorithm := range map[string]string{
		"RSA <rsa@example.com>":     "rsa2048",
		"Ed <ed25519@example.com>":  "ed25519",
		"NIST <nist@example.com>":   "nistp256",
		"RSA 3072 <rsa3072@e.com>":  "rsa3072",
		"Brain <brain@example.com>": "brainpoolP256r1",
	} {
		t.Run(algorithm, func(t *testing.T) {
			fpr := g.key(user, algorithm, "sign", "never")
			k := newKeyring(t)
			add(t, k, string(name), g.export(fpr))
			armored := g.sign(data, fpr)
			accept(t, k, armored, fpr)
			accept(t, k, g.sign(data, fpr, "--no-armor"), fpr)
			accept(t, k, g.sign(data, fpr, "--digest-algo", "SHA256"), fpr)

			tampered := bytes.Clone(data)
			tampered[len(tampered)/2] ^= 1
			refuse(t, k, tampered, armored, "not valid", fpr[24:], "was changed after the signing, or damaged: fetch both again")
			refuse(t, k, append(bytes.Clone(data), '\n'), armored, "not valid")
			refuse(t, k, data[:len(data)-1], armored, "not valid")
			refuse(t, k, nil, armored, "not valid")
		})
	}
}

func TestBinaryKey(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("jo@example.com", "ed25519", "sign", "never")
	k := newKeyring(t)
	add(t, k, string(name), g.run("", "--export", fpr))
	accept(t, k, g.sign(data, fpr), fpr)
}

func TestTamperedSignature(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("jo@example.com", "ed25519", "sign", "never")
	k := newKeyring(t)
	add(t, k, string(name), g.export(fpr))
	signature := g.sign(data, fpr, "--no-armor")
	accept(t, k, signature, fpr)
	// Parts of the packet are not signed: hints about the issuer (RFC 9580, 5.2.3).
	// Changing those may leave it good, but never for anybody else.
	for i := range signature {
		bad := bytes.Clone(signature)
		bad[i] ^= 0x10
		if v, err := decide(k, data, bad); err == nil && v.Signer().Fingerprint != fpr {
			t.Errorf("byte %d changed: signer %s", i, v.Signer().Fingerprint)
		}
	}
	// The last bytes are the signature proper.
	for i := len(signature) - 60; i < len(signature); i++ {
		bad := bytes.Clone(signature)
		bad[i] ^= 0x10
		refuse(t, k, data, bad)
	}
	for n := range signature {
		refuse(t, k, data, signature[:n], "read signature", "fetch it again")
	}
	armored := string(g.sign(data, fpr))
	for _, bad := range []string{armored[:len(armored)/2], "<html>404</html>\n", "\n"} {
		refuse(t, k, data, []byte(bad), "read signature", "fetch it again", "gpg --armor --detach-sign")
	}
	// More trust would not help.
	if _, err := decide(k, data[1:], signature); err == nil || strings.Contains(err.Error(), "trust add") {
		t.Errorf("of a changed image: %v", err)
	}
}

func TestSubkeys(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("jo@example.com", "ed25519", "cert", "never")
	g.run("", "--quick-add-key", fpr, "rsa2048", "sign", "never")
	k := newKeyring(t)
	add(t, k, string(name), g.export(fpr))
	signature := g.sign(data, fpr)
	accept(t, k, signature, fpr)

	t.Run("revoked", func(t *testing.T) {
		g.run("key 1\nrevkey\ny\n0\n\ny\nsave\n", "--no-batch", "--command-fd", "0", "--expert", "--edit-key", fpr)
		keys := add(t, k, string(name), g.export(fpr))
		if keys[0].Unusable == "" {
			t.Error("the key is listed as usable")
		}
		refuse(t, k, data, signature, "revoked")
	})
}

func TestWrongUsage(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("jo@example.com", "ed25519", "sign,cert", "never", "--faked-system-time", "20240101T000000")
	signature := g.sign(data, fpr, "--faked-system-time", "20240102T000000")
	k := newKeyring(t)
	add(t, k, string(name), g.export(fpr))
	accept(t, k, signature, fpr)
	// The key's owner takes the permission to sign away from it.
	g.run("change-usage\nS\nQ\nsave\n", "--no-batch", "--command-fd", "0", "--expert", "--edit-key", fpr)
	add(t, k, string(name), g.export(fpr))
	refuse(t, k, data, signature, "may not sign")
}

func TestTime(t *testing.T) {
	g := newGnuPG(t)
	// The faked clock goes on, so signatures are made well after the keys.
	const past, later = "20200101T000000", "20200102T000000"
	old := g.key("old@example.com", "ed25519", "sign", "never", "--faked-system-time", past)
	short := g.key("short@example.com", "ed25519", "sign", "10d", "--faked-system-time", past)
	young := g.key("young@example.com", "ed25519", "sign", "never")
	k := newKeyring(t)
	add(t, k, string(name), g.export(old, young))
	accept(t, k, g.sign(data, old, "--faked-system-time", later), old)

	t.Run("key whose end was moved later", func(t *testing.T) {
		signature := g.sign(data, old, "--faked-system-time", later)
		g.run("", "--quick-set-expire", old, "50y")
		add(t, k, string(name), g.export(old))
		accept(t, k, signature, old)
	})
	t.Run("expired signature", func(t *testing.T) {
		refuse(t, k, data, g.sign(data, old, "--faked-system-time", later, "--default-sig-expire", "1d"), "expired")
	})
	t.Run("signature of the future", func(t *testing.T) {
		refuse(t, k, data, g.sign(data, old, "--faked-system-time", "20600101T000000"), old[24:])
	})
	t.Run("older than its key", func(t *testing.T) {
		refuse(t, k, data, g.sign(data, young, "--faked-system-time", past, "--ignore-time-conflict"), young[24:])
	})
	t.Run("expired key", func(t *testing.T) {
		if _, err := k.Add(string(name), bytes.NewReader(g.export(short))); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("added: %v", err)
		}
		// It may expire after it was added: here by a new expiry date for a key we have.
		signature := g.sign(data, young)
		accept(t, k, signature, young)
		g.run("", "--quick-set-expire", young, "seconds=1")
		expired := g.export(young)
		keys := waitUnusable(t, k, expired)
		if !strings.Contains(keys[0].Unusable, "expired") {
			t.Errorf("listed as %q", keys[0].Unusable)
		}
		refuse(t, k, data, signature, "expired")
	})
}

// waitUnusable adds a key that is about to expire until it has.
func waitUnusable(t *testing.T, k *trust.Keyring, key []byte) []trust.Key {
	t.Helper()
	for range 1_000_000 {
		if keys := add(t, k, string(name), key); keys[0].Unusable != "" {
			return keys
		}
	}
	t.Fatal("the key does not expire")
	return nil
}

func TestRevokedKey(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("jo@example.com", "ed25519", "sign", "never")
	k := newKeyring(t)
	good := g.export(fpr)
	add(t, k, string(name), good)
	add(t, k, "example.org", good)
	signature := g.sign(data, fpr)
	accept(t, k, signature, fpr)

	g.revoke(fpr)
	revoked := g.export(fpr)
	if _, err := newKeyring(t).Add("", bytes.NewReader(revoked)); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("a revoked key was added afresh: %v", err)
	}
	// The news comes in under another prefix, and reaches every one.
	add(t, k, "example.org", revoked)
	refuse(t, k, data, signature, "revoked")
	if _, err := k.Add(string(name), bytes.NewReader(good)); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("the old copy undid the revocation: %v", err)
	}
	refuse(t, k, data, signature, "revoked")
}

func TestWeakAndOddSignatures(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("jo@example.com", "rsa2048", "sign", "never")
	k := newKeyring(t)
	add(t, k, string(name), g.export(fpr))
	weak := []string{"--allow-weak-digest-algos", "--allow-weak-key-signatures", "--digest-algo"}
	for hash, want := range map[string]string{"SHA1": "weak hash", "SHA224": "weak hash", "RIPEMD160": "unsupported"} {
		refuse(t, k, data, g.sign(data, fpr, append(weak, hash)...), want)
	}
	refuse(t, k, data, g.sign(data, fpr, "--textmode"), "binary file")
	refuse(t, k, data, g.run(string(data), "--local-user", fpr, "--sign"))
	refuse(t, k, data, g.run(string(data), "--local-user", fpr, "--clearsign"))
	refuse(t, k, data, g.export(fpr), "want")
	refuse(t, k, data, g.run("", "--export", fpr), "not a detached signature")
	refuse(t, k, data, nil, "empty")
	refuse(t, k, data, []byte("-----BEGIN PGP SIGNATURE-----\n"))
	refuse(t, k, data, []byte("no signature\n"))
}

// TestWeakKeys has keys that hang together by SHA-1, or are too short.
func TestWeakKeys(t *testing.T) {
	g := newGnuPG(t)
	sha1 := g.key("sha1@example.com", "rsa2048", "sign", "never", "--cert-digest-algo", "SHA1", "--allow-weak-digest-algos")
	short := g.key("short@example.com", "rsa1024", "sign", "never")
	for _, fpr := range []string{sha1, short} {
		if keys, err := newKeyring(t).Add("", bytes.NewReader(g.export(fpr))); err == nil {
			t.Errorf("trusted: %+v", keys)
		}
	}
}

func TestPrefixes(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("Jo <jo@example.com>", "ed25519", "sign", "never")
	key, signature := g.export(fpr), g.sign(data, fpr)
	for _, tc := range []struct {
		prefix string
		ok     bool
	}{
		{"example.com/app", true},
		{"example.com", true},
		{"", true},
		{"example.com/ap", false},
		{"example.com/app/x", false},
		{"example.org", false},
		{"example", false},
	} {
		k := newKeyring(t)
		add(t, k, tc.prefix, key)
		if tc.ok {
			accept(t, k, signature, fpr)
			continue
		}
		refuse(t, k, data, signature, "trusted only for "+tc.prefix, "Jo <jo@example.com>",
			"clearrun trust add --prefix example.com/app ")
	}
	for _, bad := range []string{"/", "example.com/", "../x", "Example.com", "example.com//x"} {
		if _, err := newKeyring(t).Add(bad, bytes.NewReader(key)); err == nil {
			t.Errorf("prefix %q was taken", bad)
		}
	}
}

func TestSeveralSigners(t *testing.T) {
	g := newGnuPG(t)
	jo := g.key("jo@example.com", "ed25519", "sign", "never")
	mo := g.key("mo@example.com", "rsa2048", "sign", "never")
	both := g.run(string(data), "--local-user", jo, "--local-user", mo, "--armor", "--detach-sign")

	k := newKeyring(t)
	refuse(t, k, data, both, jo[24:], mo[24:], "is not trusted", "clearrun trust add --prefix NAME key.asc")
	add(t, k, string(name), g.export(mo))
	accept(t, k, both, mo)
	if err := k.Remove(string(name), strings.ToLower("0x"+mo)); err != nil {
		t.Fatal(err)
	}
	refuse(t, k, data, both, "is not trusted")
	add(t, k, string(name), g.export(jo))
	accept(t, k, both, jo)
	add(t, k, "", g.export(mo))
	accept(t, k, both, jo) // the longer prefix says more

	// A bad signature beside a good one does no harm; by itself it does no good.
	bad := g.sign([]byte("other"), mo, "--no-armor")
	good := g.sign(data, jo, "--no-armor")
	accept(t, k, append(bytes.Clone(bad), good...), jo)
	refuse(t, k, data, append(bytes.Clone(bad), bad...), "not valid")
	refuse(t, k, data, bytes.Repeat(good, 65), "more than 64")
}

func TestDecide(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("jo@example.com", "ed25519", "sign", "never")
	k := newKeyring(t)
	add(t, k, string(name), g.export(fpr))
	ctx := context.Background()
	signed, err := k.Examine(ctx, bytes.NewReader(data), g.sign(data, fpr))
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := trust.Unsigned(ctx, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	good := trust.Request{Name: name, Digest: digest([]byte("id")), Source: digest(data), Evidence: signed}
	for _, tc := range []struct {
		name   string
		change func(*trust.Request)
		want   string // of the error; empty: granted
	}{
		{"good", func(r *trust.Request) {}, ""},
		{"asks for vm", func(r *trust.Request) { r.AskedTier = trust.TierVM }, ""},
		{"asks for ns", func(r *trust.Request) { r.AskedTier = trust.TierNS }, "only at tier vm"},
		{"asks for host", func(r *trust.Request) { r.AskedTier = trust.TierHost }, "only at tier vm"},
		{"no such tier", func(r *trust.Request) { r.AskedTier = 9 }, "tier 9"},
		{"no name", func(r *trust.Request) { r.Name = "" }, "name"},
		{"no digest", func(r *trust.Request) { r.Digest = image.Digest{} }, "digest"},
		{"no source", func(r *trust.Request) { r.Source = image.Digest{} }, "digest"},
		{"other bytes were unpacked", func(r *trust.Request) { r.Source = digest([]byte("other")) }, "changed while it was read"},
		{"other bytes, insecure", func(r *trust.Request) { r.Source, r.InsecureNoVerify = digest([]byte("other")), true }, "changed while it was read"},
		{"no evidence", func(r *trust.Request) { r.Evidence = trust.Evidence{} }, "changed"},
		{"not looked at", func(r *trust.Request) { r.Evidence = unsigned }, "was not checked"},
	} {
		r := good
		tc.change(&r)
		v, err := trust.Decide(r)
		switch {
		case tc.want == "" && (err != nil || !v.Grants(r.Digest) || v.Tier() != trust.TierVM):
			t.Errorf("%s: %+v, %v", tc.name, v, err)
		case tc.want != "" && (err == nil || v != trust.Verdict{} || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}

	r := good
	r.Evidence, r.InsecureNoVerify = unsigned, true
	v, err := trust.Decide(r)
	if err != nil || v.How() != "not verified" || !v.Signer().IsZero() || v.Tier() != trust.TierVM {
		t.Errorf("insecure: %+v, %v", v, err)
	}
	if v.Grants(digest([]byte("another"))) {
		t.Error("it grants another image")
	}
}

func TestZeroGrantsNothing(t *testing.T) {
	var v trust.Verdict
	if v.Grants(image.Digest{}) || v.Grants(digest(nil)) || v.Tier().Valid() {
		t.Error("the zero Verdict grants something")
	}
	for _, s := range []string{"", "invalid", "VM", "kvm"} {
		if tier, err := trust.ParseTier(s); err == nil {
			t.Errorf("ParseTier(%q) = %v", s, tier)
		}
	}
	for _, tier := range []trust.Tier{trust.TierVM, trust.TierNS, trust.TierHost} {
		if got, err := trust.ParseTier(tier.String()); err != nil || got != tier {
			t.Errorf("%v: got %v, %v", tier, got, err)
		}
	}
	if !(trust.TierVM > trust.TierNS && trust.TierNS > trust.TierHost) {
		t.Error("the tiers are out of order")
	}
}

func TestKeyring(t *testing.T) {
	g := newGnuPG(t)
	jo := g.key("Jo <jo@example.com>", "ed25519", "sign", "never")
	mo := g.key("Mo <mo@example.com>", "ed25519", "sign", "1y")
	k := newKeyring(t)
	if keys, err := k.List(); err != nil || len(keys) != 0 {
		t.Errorf("an absent keyring: %v, %v", keys, err)
	}
	add(t, k, "example.com/app", g.export(jo, mo))
	add(t, k, "", g.export(mo))
	keys, err := k.List()
	if err != nil || len(keys) != 3 {
		t.Fatalf("got %v, %v", keys, err)
	}
	if keys[0].Prefix != "" || keys[0].Fingerprint != mo || keys[0].Identities[0] != "Mo <mo@example.com>" || keys[0].Expires.IsZero() {
		t.Errorf("got %+v", keys[0])
	}
	if err := k.Remove("example.com", jo); err == nil {
		t.Error("removed from a prefix where it is not")
	}
	if err := k.Remove("example.com/app", "../../root.d/"+mo); err == nil {
		t.Error("a path was taken for a fingerprint")
	}
	if err := k.Remove("example.com/app", jo); err != nil {
		t.Error(err)
	}
	if keys, err = k.List(); err != nil || len(keys) != 2 {
		t.Errorf("got %v, %v", keys, err)
	}
	secret := g.run("", "--armor", "--export-secret-keys", jo)
	if _, err := k.Add("", bytes.NewReader(secret)); err == nil {
		t.Error("a secret key was added")
	}
	if _, err := k.Add("", bytes.NewReader(g.run("", "--export-secret-keys", jo))); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("a secret key was added: %v", err)
	}
}

// TestKeyringFiles changes the files behind the program's back.
func TestKeyringFiles(t *testing.T) {
	g := newGnuPG(t)
	jo := g.key("jo@example.com", "ed25519", "sign", "never")
	mo := g.key("mo@example.com", "ed25519", "sign", "never")
	signature := g.sign(data, jo)
	for _, tc := range []struct {
		name   string
		change func(dir, file string) error
		want   string
	}{
		{"folder writable by all", func(dir, file string) error { return os.Chmod(dir, 0o777) }, "writable by others"},
		{"prefix writable by group", func(dir, file string) error { return os.Chmod(filepath.Dir(file), 0o775) }, "writable by others"},
		{"key writable by group", func(dir, file string) error { return os.Chmod(file, 0o664) }, "writable by others"},
		{"key is a symlink", func(dir, file string) error {
			return os.Rename(file, dir+"/moved") // and a link to it
		}, "neither a file"},
		{"another key", func(dir, file string) error { return os.WriteFile(file, g.export(mo), 0o644) }, "holds another key"},
		{"two keys", func(dir, file string) error { return os.WriteFile(file, g.export(jo, mo), 0o644) }, "holds 2 keys"},
		{"garbage", func(dir, file string) error { return os.WriteFile(file, []byte("garbage"), 0o644) }, jo},
		{"odd prefix", func(dir, file string) error {
			return os.Rename(filepath.Dir(file), filepath.Join(dir, "prefix.d", "example.com%2F..%2Fx"))
		}, "not allowed"},
		{"temporary file", func(dir, file string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(file), ".key-123"), []byte("half"), 0o600)
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newKeyring(t)
			add(t, k, string(name), g.export(jo))
			file := filepath.Join(k.Dir(), "prefix.d", "example.com%2Fapp", jo+".asc")
			if err := tc.change(k.Dir(), file); err != nil {
				t.Fatal(err)
			}
			if tc.name == "key is a symlink" {
				if err := os.Symlink(k.Dir()+"/moved", file); err != nil {
					t.Fatal(err)
				}
			}
			if tc.want == "" {
				accept(t, k, signature, jo)
				return
			}
			refuse(t, k, data, signature, tc.want)
		})
	}
}

// FuzzSignature asks that no change of a signature makes it good for other bytes.
func FuzzSignature(f *testing.F) {
	g := newGnuPG(f)
	fpr := g.key("jo@example.com", "ed25519", "sign", "never")
	k := newKeyring(f)
	add(f, k, "", g.export(fpr))
	f.Add(g.sign([]byte("signed"), fpr))
	f.Add(g.sign([]byte("signed"), fpr, "--no-armor"))
	f.Add(g.run("", "--export", fpr))
	f.Fuzz(func(t *testing.T, signature []byte) {
		if v, err := decide(k, []byte("other bytes"), signature); err == nil {
			t.Errorf("accepted: %s", v.How())
		}
	})
}
