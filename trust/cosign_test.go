package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/trust"
)

const repo image.Name = "registry.example.com:5000/team/app"

// signer is a key pair of cosign's kinds.
type signer struct {
	t      testing.TB
	secret crypto.Signer
}

func newSigner(t testing.TB, kind string) signer {
	t.Helper()
	var secret crypto.Signer
	var err error
	switch kind {
	case "ecdsa":
		secret, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, secret, err = ed25519.GenerateKey(rand.Reader)
	case "rsa":
		secret, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil || secret == nil {
		t.Fatal(kind, err)
	}
	return signer{t, secret}
}

func publicPEM(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (s signer) pub() []byte { return publicPEM(s.t, s.secret.Public()) }

func (s signer) fingerprint() string {
	block, _ := pem.Decode(s.pub())
	return fmt.Sprintf("%X", sha256.Sum256(block.Bytes))
}

func (s signer) sign(message []byte) []byte {
	digest, opts := message, crypto.SignerOpts(crypto.Hash(0))
	if _, ok := s.secret.(ed25519.PrivateKey); !ok {
		sum := sha256.Sum256(message)
		digest, opts = sum[:], crypto.SHA256
	}
	signature, err := s.secret.Sign(rand.Reader, digest, opts)
	if err != nil {
		panic(err) // inside a fuzz target, too
	}
	return signature
}

func (s signer) simple(payload string) image.Signatures {
	return image.Signatures{Simple: []image.SimpleSigning{{Payload: []byte(payload), Signature: s.sign([]byte(payload))}}}
}

// bundle makes a bundle over an in-toto statement, and lets it be changed afterwards.
func (s signer) bundle(statement string, change ...string) image.Signatures {
	const kind = "application/vnd.in-toto+json"
	signature := s.sign(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(statement), statement))
	b64 := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",`+
		`"verificationMaterial":{"publicKey":{"hint":"aGludA=="}},`+
		`"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q}]}}`, b64([]byte(statement)), kind, b64(signature))
	return image.Signatures{Bundles: [][]byte{[]byte(strings.NewReplacer(change...).Replace(text))}}
}

func manifest(text string) image.Digest {
	sum := sha256.Sum256([]byte(text))
	d, _ := image.NewDigest(image.SHA256, sum[:])
	return d
}

func payload(name string, d image.Digest, optional string) string {
	return fmt.Sprintf(`{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":"sha256:%s"},`+
		`"type":"cosign container image signature"},"optional":%s}`, name, d.Hex(), optional)
}

func statement(d image.Digest) string {
	return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q},"annotations":{"env":"prod"}}],`+
		`"predicateType":"https://sigstore.dev/cosign/sign/v1"}`, d.Hex())
}

// decideOCI goes from signatures to Verdict.
func decideOCI(k *trust.Keyring, sigs image.Signatures, subjects ...image.Digest) (trust.Verdict, error) {
	e, err := k.ExamineOCI(subjects, repo, sigs)
	if err != nil {
		return trust.Verdict{}, err
	}
	return trust.Decide(trust.Request{Name: repo, Digest: subjects[0], Source: subjects[0], Evidence: e})
}

func TestCosignKinds(t *testing.T) {
	d := manifest("m")
	for _, kind := range []string{"ecdsa", "ed25519", "rsa"} {
		s := newSigner(t, kind)
		k := newKeyring(t)
		keys := add(t, k, "registry.example.com:5000/team", s.pub())
		if keys[0].Kind != trust.KindCosign || keys[0].Fingerprint != s.fingerprint() || keys[0].Unusable != "" {
			t.Errorf("%s: added %+v", kind, keys[0])
		}
		for what, sigs := range map[string]image.Signatures{
			"simple": s.simple(payload(string(repo), d, "null")),
			"bundle": s.bundle(statement(d)),
		} {
			v, err := decideOCI(k, sigs, d)
			if err != nil || !v.Grants(d) || v.Signer().Fingerprint != s.fingerprint() || !strings.Contains(v.How(), s.fingerprint()) {
				t.Errorf("%s, %s: %+v, %v", kind, what, v, err)
			}
		}
	}
}

// TestCosignRefuses lets one thing be wrong at a time.
func TestCosignRefuses(t *testing.T) {
	s, other := newSigner(t, "ecdsa"), newSigner(t, "ed25519")
	d, old := manifest("m"), manifest("old")
	good, st := payload(string(repo), d, "{}"), statement(d)
	k := newKeyring(t)
	add(t, k, "registry.example.com:5000/team", s.pub())
	change := func(from, to string) image.Signatures { // by the signer
		if !strings.Contains(good+st, from) {
			t.Fatalf("there is no %q", from)
		}
		if strings.Contains(good, from) {
			return s.simple(strings.Replace(good, from, to, 1))
		}
		return s.bundle(strings.Replace(st, from, to, 1))
	}
	tampered := s.simple(good)
	tampered.Simple[0].Payload = []byte(strings.Replace(good, d.Hex(), old.Hex(), 1))
	for _, tc := range []struct {
		name    string
		sigs    image.Signatures
		subject image.Digest
		want    string
	}{
		{"nothing", image.Signatures{}, d, "carries no signature"},
		{"another key", other.simple(good), d, "not by a trusted key"},
		{"another key, bundle", other.bundle(st), d, `says to be by key "aGludA=="`},
		{"another image", s.simple(good), old, "is about another image, " + d.Short()},
		{"another image, bundle", s.bundle(st), old, "is about another image"},
		{"tampered payload", tampered, old, "not by a trusted key"},
		{"another name", s.simple(payload("registry.example.com:5000/team/other", d, "{}")), d, "is about an image named"},
		{"another port", s.simple(payload("registry.example.com/team/app", d, "{}")), d, "is about an image named"},
		{"longer name", s.simple(payload(string(repo)+"x", d, "{}")), d, "is about an image named"},
		{"no name", s.simple(payload("", d, "{}")), d, "docker-reference is empty"},
		{"another type", change("cosign container", "atomic container"), d, "critical.type"},
		{"unknown critical field", change(`"type":"cosign`, `"until":"x","type":"cosign`), d, `unknown field "until"`},
		{"missing critical field", change(`"identity":{`, `"identitY":{`), d, "identity"},
		{"folded case", change(`"critical"`, `"Critical"`), d, "critical"},
		{"doubled field", change(`"image":{`, `"image":{},"image":{`), d, "twice"},
		{"short digest", change("sha256:", "sha256:ab"), d, "digest"},
		{"trailing text", s.simple(good + "{}"), d, "more than one"},
		{"no JSON", s.simple("payload"), d, "want a JSON object"},
		{"attestation", change("cosign/sign/v1", "cosign/attest/v1"), d, "predicateType"},
		{"another statement", change("in-toto.io/Statement/v1", "in-toto.io/Statement/v9"), d, "_type"},
		{"two subjects", change(`"subject":[`, `"subject":[{},`), d, "one subject"},
		{"keyless", s.bundle(st, `"publicKey":{"hint":"aGludA=="}`, `"certificate":{"rawBytes":""}`), d, "keyless"},
		{"blob", s.bundle(st, `"dsseEnvelope":{`, `"messageSignature":{},"dsseEnvelope":{`), d, "blobs"},
		{"another bundle", s.bundle(st, "v0.3", "v0.4"), d, "want v0.3"},
		{"another envelope", s.bundle(st, "vnd.in-toto+json", "json"), d, "payloadType"},
		{"no envelope", s.bundle(st, "dsseEnvelope", "envelope"), d, "dsseEnvelope"},
		{"garbage", image.Signatures{Bundles: [][]byte{[]byte("{")}}, d, "bundle"},
		{"too many", image.Signatures{Bundles: make([][]byte, 65)}, d, "more than 64"},
	} {
		v, err := decideOCI(k, tc.sigs, tc.subject)
		if err == nil || v != (trust.Verdict{}) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %v; want %q", tc.name, v.How(), err, tc.want)
		}
	}
}

// TestCosignNames says for which names a docker-reference stands.
func TestCosignNames(t *testing.T) {
	s := newSigner(t, "ecdsa")
	d := manifest("m")
	k := newKeyring(t)
	add(t, k, "", s.pub())
	for _, tc := range []struct {
		reference string
		name      image.Name
		ok        bool
	}{
		{"r.example.com/a", "r.example.com/a", true},
		{"r.example.com/a:v1", "r.example.com/a", true},
		{"r.example.com:443/a:v1@sha256:" + d.Hex(), "r.example.com:443/a", true},
		{"index.docker.io/library/nginx", "docker.io/library/nginx", true},
		{"docker.io/library/nginx", "docker.io/library/nginx", true},
		{"r.example.com/a/b", "r.example.com/a", false},
		{"r.example.com/a", "r.example.com/a/b", false},
		{"nginx", "docker.io/library/nginx", false},
	} {
		_, err := k.ExamineOCI([]image.Digest{d}, tc.name, s.simple(payload(tc.reference, d, "{}")))
		if (err == nil) != tc.ok {
			t.Errorf("%s as %s: %v", tc.reference, tc.name, err)
		}
	}
}

func TestCosignScope(t *testing.T) {
	s := newSigner(t, "ecdsa")
	d, index := manifest("m"), manifest("index")
	sigs := s.simple(payload(string(repo), index, "{}"))
	for _, tc := range []struct {
		prefix string
		ok     bool
	}{
		{"", true},
		{string(repo), true},
		{"registry.example.com:5000", true},
		{"registry.example.com", false},
		{"registry.example.com:5000/te", false},
		{"registry.example.com:5000/team/app/x", false},
	} {
		k := newKeyring(t)
		add(t, k, tc.prefix, s.pub())
		v, err := decideOCI(k, sigs, d, index) // the index was signed, its manifest runs
		if tc.ok && (err != nil || !v.Grants(d) || v.Grants(index)) {
			t.Errorf("%q: %+v, %v", tc.prefix, v, err)
		}
		if !tc.ok && (err == nil || !strings.Contains(err.Error(), "trusted only for "+tc.prefix) || !strings.Contains(err.Error(), "cosign.pub")) {
			t.Errorf("%q: %v", tc.prefix, err)
		}
		if err := k.Remove(tc.prefix, s.fingerprint()); err != nil {
			t.Error(err)
		}
		if _, err := decideOCI(k, sigs, d, index); err == nil {
			t.Errorf("%q: a removed key is trusted", tc.prefix)
		}
	}
	// What was checked for one name decides nothing for another.
	k := newKeyring(t)
	add(t, k, "", s.pub())
	e, err := k.ExamineOCI([]image.Digest{index}, repo, sigs)
	if err != nil {
		t.Fatal(err)
	}
	_, err = trust.Decide(trust.Request{Name: "other.example.com/a", Digest: index, Source: index, Evidence: e})
	if err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("got %v", err)
	}
}

// TestCosignPolicy holds what signatures say against what a rule asks for.
func TestCosignPolicy(t *testing.T) {
	s, other := newSigner(t, "ecdsa"), newSigner(t, "ed25519")
	d := manifest("m")
	k := newKeyring(t)
	add(t, k, string(repo), append(s.pub(), other.pub()...))
	prod := s.simple(payload(string(repo), d, `{"env":"prod","n":1}`))
	both := image.Signatures{Simple: prod.Simple, Bundles: other.bundle(statement(d)).Bundles}
	test := s.simple(payload(string(repo), d, `{"env":"test"}`))
	for _, tc := range []struct {
		require string
		sigs    image.Signatures
		want    string // in the error; empty: granted
	}{
		{"signers: keyring", prod, ""},
		{"signers: [" + s.fingerprint() + "]", prod, ""},
		{"signers: [" + strings.ToLower(other.fingerprint()) + "]", prod, "requires a signature of " + other.fingerprint()},
		{"signers: keyring, annotations: {env: prod}", prod, ""},
		{"signers: keyring, annotations: {env: prod}", test, `annotated "env"="prod"; found: signature without a date`},
		{"signers: keyring, annotations: {env: prod, by: me}", prod, `annotated "env"="prod"`},
		{"signers: keyring, annotations: {n: 1}", prod, "requires"},
		{"signers: keyring, annotations: {env: prod}, atLeast: 2", both, ""},
		{"signers: keyring, atLeast: 2", prod, "2 different keys"},
		{"signers: keyring, notOlderThan: 9d", prod, "without a date"},
		{"none: true", image.Signatures{}, ""},
		{"none: true", other.simple("x"), ""},
	} {
		e, err := k.InspectOCI([]image.Digest{d}, repo, tc.sigs)
		if err != nil {
			t.Fatal(err)
		}
		p := policy(t, rules("name: one\n  match: {name: \"registry.example.com:5000/**\"}\n  require: {"+tc.require+"}"))
		_, err = trust.Decide(trust.Request{Name: repo, Digest: d, Source: d, Evidence: e, Policy: p})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", tc.require, err, tc.want)
		}
	}
}

func TestCosignKeyFiles(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	s := newSigner(t, "ecdsa")
	block := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte{0x30, 0}}) }
	for _, tc := range []struct {
		name string
		file []byte
		want string
	}{
		{"P-384", publicPEM(t, p384.Public()), "only P-256"},
		{"RSA 1024", publicPEM(t, weak.Public()), "RSA with 1024 bits"},
		{"private", block("ENCRYPTED SIGSTORE PRIVATE KEY"), "private key"},
		{"certificate", block("CERTIFICATE"), "keyless"},
		{"PKCS #1", block("RSA PUBLIC KEY"), `want "PUBLIC KEY"`},
		{"DER", block("PUBLIC KEY"), "read key"},
		{"half", s.pub()[:60], "damaged PEM"},
		{"trailing text", append(s.pub(), "x"...), "damaged PEM"},
	} {
		k := newKeyring(t)
		if _, err := k.Add("", strings.NewReader(string(tc.file))); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if keys, err := k.List(); err != nil || len(keys) != 0 {
			t.Errorf("%s: left %v, %v", tc.name, keys, err)
		}
	}
	k := newKeyring(t)
	if keys := add(t, k, "", append(s.pub(), newSigner(t, "ed25519").pub()...)); len(keys) != 2 {
		t.Errorf("two keys in one file: %v", keys)
	}
}

// FuzzPayload signs what it is given: it must be refused, or say what an ordinary reader
// of JSON finds in it, too.
func FuzzPayload(f *testing.F) {
	s := newSigner(f, "ed25519")
	d := manifest("m")
	k := newKeyring(f)
	add(f, k, "", s.pub())
	f.Add(payload(string(repo), d, `{"a":"b","n":1}`))
	f.Add(payload(string(repo)+":tag", d, "null"))
	f.Add(strings.Replace(payload(string(repo), d, "{}"), "critical", "Critical", 1))
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := k.ExamineOCI([]image.Digest{d}, repo, s.simple(text)); err != nil {
			return
		}
		var p struct {
			Critical struct {
				Identity struct {
					Reference string `json:"docker-reference"`
				}
				Image struct {
					Digest string `json:"docker-manifest-digest"`
				}
			}
		}
		if err := json.Unmarshal([]byte(text), &p); err != nil || !strings.HasPrefix(p.Critical.Identity.Reference, string(repo)) ||
			!strings.HasSuffix(p.Critical.Image.Digest, d.Hex()) {
			t.Errorf("accepted %q: %v", text, err)
		}
	})
}

// FuzzStatement does the same with what is in a bundle.
func FuzzStatement(f *testing.F) {
	s := newSigner(f, "ed25519")
	d := manifest("m")
	k := newKeyring(f)
	add(f, k, "", s.pub())
	f.Add(statement(d))
	f.Add(strings.Replace(statement(d), `"sha256"`, `"sha512":"x","sha256"`, 1))
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := k.ExamineOCI([]image.Digest{d}, repo, s.bundle(text)); err == nil && !strings.Contains(text, d.Hex()) {
			t.Errorf("accepted %q", text)
		}
	})
}

// FuzzBundle asks that no change of a bundle makes it good for another image.
func FuzzBundle(f *testing.F) {
	s := newSigner(f, "ecdsa")
	d := manifest("m")
	k := newKeyring(f)
	add(f, k, "", s.pub())
	f.Add(s.bundle(statement(d)).Bundles[0])
	f.Add(s.bundle(statement(d), "publicKey", "certificate").Bundles[0])
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := k.ExamineOCI([]image.Digest{manifest("other")}, repo, image.Signatures{Bundles: [][]byte{data}}); err == nil {
			t.Errorf("accepted %q", data)
		}
	})
}

// FuzzKeyFile asks that what is taken for a key has a fingerprint to be known by.
func FuzzKeyFile(f *testing.F) {
	for _, kind := range []string{"ecdsa", "ed25519", "rsa"} {
		f.Add(newSigner(f, kind).pub())
	}
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	k := newKeyring(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := k.Preview(strings.NewReader(string(data)))
		if err == nil && (len(keys) == 0 || len(keys[0].Fingerprint) < 40) {
			t.Errorf("%q gives %v", data, keys)
		}
	})
}
