package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// signedVerdict is that of an image which a cosign key has signed, and its fingerprint.
func signedVerdict(t *testing.T) (trust.Verdict, string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(secret.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := trust.OpenKeyring(filepath.Join(t.TempDir(), "trust.d"))
	if err != nil {
		t.Fatal(err)
	}
	added, err := keys.Add("r.example.com", strings.NewReader(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.ParseDigest("sha256:" + strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"r.example.com/a"},"image":{"docker-manifest-digest":"sha256:%s"},"type":"cosign container image signature"}}`, digest.Hex())
	sum := sha256.Sum256(payload)
	signature, err := ecdsa.SignASN1(rand.Reader, secret, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	e, err := keys.ExamineOCI([]image.Digest{digest}, "r.example.com/a", image.Signatures{Simple: []image.SimpleSigning{{Payload: payload, Signature: signature}}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := trust.Decide(trust.Request{Name: "r.example.com/a", Digest: digest, Source: digest, Evidence: e})
	if err != nil {
		t.Fatal(err)
	}
	return v, added[0].Fingerprint
}

func TestDecisions(t *testing.T) {
	v, fingerprint := signedVerdict(t)
	o := &runOptions{globals: globals{configDir: t.TempDir()}}
	f := o.flags(devNull(t))
	if err := f.Parse([]string{"--memory", "1G", "-e", "A=secret", "x"}); err != nil {
		t.Fatal(err)
	}
	o.given = given(f)
	b := &bundle.Bundle{Parts: []bundle.Part{{Name: bundle.Kernel, SHA256: "12"}, {Name: bundle.Monitor, SHA256: "34"}}}
	d, err := o.decisions("x", b)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.allowed(&pod.Pod{Verdict: v}); err != nil {
		t.Fatal(err)
	}
	if err := d.exited(125, errors.New("the VM broke")); err != nil {
		t.Fatal(err)
	}
	p, err := trust.ParsePolicy("p.yaml", []byte("rules: [{name: no, match: {name: \"**\"}, deny: true}]"), pod.Vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	_, denied := trust.Decide(trust.Request{Name: "a.b/c", Digest: v.ImageDigest(), Source: v.ImageDigest(), Evidence: trust.UnsignedOCI(v.ImageDigest()), Policy: p})
	if err := d.refused(fmt.Errorf("image x: %w", denied)); err == nil || !strings.Contains(err.Error(), `rule "no"`) {
		t.Errorf("the reason is lost: %v", err)
	}
	l, err := o.log()
	if err != nil {
		t.Fatal(err)
	}
	var got []trust.Record
	if _, err := l.Each(func(r trust.Record) error { got = append(got, r); return nil }); err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	if r := got[0]; !r.Trusted || r.Signer != fingerprint || r.Tier != "vm" || r.Kernel != "sha256-12" || r.Monitor != "sha256-34" ||
		r.Rule == "" || !slices.Equal(r.Options, []string{"--memory=1G", "--env"}) || r.Bypassed != nil {
		t.Errorf("decision: %+v", r)
	}
	if r := got[1]; r.Run != got[0].Seq || *r.Exit != 125 || r.Error != "the VM broke" {
		t.Errorf("exit: %+v", r)
	}
	if r := got[2]; r.Event != trust.EventRefused || r.Kernel != "" || r.Rule != "no" || r.Policy != "p.yaml" || r.Image != "a.b/c" || r.Trusted {
		t.Errorf("refusal: %+v", r)
	}
}

func TestLogCommand(t *testing.T) {
	dir := t.TempDir()
	if code, out := output(t, "--config-dir", dir, "log", "verify"); code != 0 || !strings.Contains(out, "0 records") {
		t.Errorf("no log: %d, %s", code, out)
	}
	o := &runOptions{globals: globals{configDir: dir}, insecure: true}
	d, err := o.decisions("\x1b[31mred.aci", &bundle.Bundle{})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := signedVerdict(t)
	if err := d.allowed(&pod.Pod{Verdict: v}); err != nil {
		t.Fatal(err)
	}
	code, out := output(t, "--config-dir", dir, "log", "show")
	if code != 0 || !strings.Contains(out, `bypassed:"signature"`) || strings.Contains(out, "\x1b") {
		t.Errorf("%d, %q", code, out)
	}
	path := filepath.Join(dir, "log", "decisions.jsonl")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, out = output(t, "--config-dir", dir, "log", "verify")
	_, noted, _ := strings.Cut(strings.TrimSpace(out), "last hash ")
	for hash, want := range map[string]int{noted: 0, strings.ToUpper(noted): 0, strings.Repeat("0", 64): 0, strings.Repeat("1", 64): 1, "12": 125} {
		if code, out := output(t, "--config-dir", dir, "log", "verify", "--head", hash); code != want {
			t.Errorf("noted %s: %d, %s", hash, code, out)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"trusted":`, `"trusted" :`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"show", "verify"} {
		if code, out := output(t, "--config-dir", dir, "log", command); code != 1 {
			t.Errorf("a change: %s gives %d, %s", command, code, out)
		}
	}
	if code, _ := output(t, "--config-dir", dir, "log", "erase"); code != 125 {
		t.Errorf("an unknown command: %d", code)
	}
}
