package trust_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/ocitest"
	"github.com/clearrun/clearrun/image/registrytest"
	"github.com/clearrun/clearrun/trust"
)

// cosignCLI is the real cosign (hack/deps.sh), with a folder for its keys and a registry
// on this host.
type cosignCLI struct {
	*registrytest.Registry
	t   testing.TB
	dir string
}

func newCosign(t testing.TB) cosignCLI {
	t.Helper()
	if _, err := os.Stat("../build/tools/cosign"); err != nil && os.Getenv("CI") == "" {
		t.Skip("no cosign: hack/deps.sh builds it")
	}
	return cosignCLI{registrytest.Start(t, registrytest.Options{}), t, t.TempDir()}
}

func (c cosignCLI) run(args ...string) {
	c.t.Helper()
	cosign, err := filepath.Abs("../build/tools/cosign")
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(cosign, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=", "HOME="+c.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("cosign %s: %v: %s (hack/deps.sh builds it)", strings.Join(args, " "), err, out)
	}
}

// key makes a key pair and returns the public key.
func (c cosignCLI) key(name string) []byte {
	c.t.Helper()
	c.run("generate-key-pair", "--output-key-prefix", name)
	return c.public(name)
}

// imported makes a key pair of another kind with openssl.
func (c cosignCLI) imported(name string, genpkey ...string) []byte {
	c.t.Helper()
	file := filepath.Join(c.dir, name+".pem")
	if out, err := exec.Command("openssl", append([]string{"genpkey", "-out", file}, genpkey...)...).CombinedOutput(); err != nil {
		c.t.Fatalf("openssl: %v: %s", err, out)
	}
	c.run("import-key-pair", "--key", file, "--output-key-prefix", name)
	return c.public(name)
}

func (c cosignCLI) public(name string) []byte {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, name+".pub"))
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// push puts an image of one file into the registry.
func (c cosignCLI) push(reference, text string) image.Digest {
	c.t.Helper()
	l := ocitest.New(c.t)
	l.Tag(l.Image(ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/app"}}), ocitest.Layer{Tar: acitest.Tar(c.t, acitest.File("app", text))}), "x")
	c.Push("oci:"+l.Dir+":x", reference)
	repository, tag, _ := strings.Cut(reference, ":")
	return sum(c.get(repository + "/manifests/" + tag)) // skopeo compresses layers
}

// sign signs what lies in a repository, offline.
func (c cosignCLI) sign(key, repository string, d image.Digest, flags ...string) {
	c.t.Helper()
	args := append([]string{"sign", "--yes", "--key", key + ".key", "--tlog-upload=false", "--allow-http-registry"}, flags...)
	c.run(append(args, c.Host+"/"+repository+"@sha256:"+d.Hex())...)
}

// newFormat asks for a bundle instead of a tag.
func newFormat() []string { return []string{"--new-bundle-format", "--use-signing-config=false"} }

// get fetches from the registry; nil: it has no such thing.
func (c cosignCLI) get(path string) []byte {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+c.Host+"/v2/"+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header["Accept"] = []string{v1.MediaTypeImageManifest, v1.MediaTypeImageIndex}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return data
}

// signatures collects all that lies beside an image.
func (c cosignCLI) signatures(repository string, d image.Digest) image.Signatures {
	c.t.Helper()
	var sigs image.Signatures
	manifests := [][]byte{c.get(repository + "/manifests/sha256-" + d.Hex() + ".sig")}
	var index v1.Index
	c.decode(c.get(repository+"/manifests/sha256-"+d.Hex()), &index)
	for _, m := range index.Manifests {
		manifests = append(manifests, c.get(repository+"/manifests/"+string(m.Digest)))
	}
	for _, data := range manifests {
		var m v1.Manifest
		c.decode(data, &m)
		for _, l := range m.Layers {
			blob := c.get(repository + "/blobs/" + string(l.Digest))
			encoded, simple := l.Annotations["dev.cosignproject.cosign/signature"]
			if !simple {
				sigs.Bundles = append(sigs.Bundles, blob)
				continue
			}
			signature, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				c.t.Fatal(err)
			}
			sigs.Simple = append(sigs.Simple, image.SimpleSigning{Payload: blob, Signature: signature})
		}
	}
	return sigs
}

func (c cosignCLI) decode(data []byte, v any) {
	c.t.Helper()
	if data == nil {
		return
	}
	if err := json.Unmarshal(data, v); err != nil {
		c.t.Fatal(err)
	}
}

// verify says what cosign itself thinks of the signature.
func (c cosignCLI) verify(key, repository string, d image.Digest, flags ...string) error {
	cosign, err := filepath.Abs("../build/tools/cosign")
	if err != nil {
		return err
	}
	args := append([]string{"verify", "--key", key + ".pub", "--insecure-ignore-tlog", "--allow-http-registry"}, flags...)
	cmd := exec.Command(cosign, append(args, c.Host+"/"+repository+"@sha256:"+d.Hex())...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), "HOME="+c.dir)
	return cmd.Run()
}

func sum(data []byte) image.Digest {
	s := sha256.Sum256(data)
	d, _ := image.NewDigest(image.SHA256, s[:])
	return d
}

// TestCosignCLI signs with the real program in a real registry, and asks about what may
// go wrong there.
func TestCosignCLI(t *testing.T) {
	c := newCosign(t)
	jo, other := c.key("jo"), c.key("other")
	rsa := c.imported("rsa", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
	ed := c.imported("ed", "-algorithm", "ED25519")
	repo := image.Name(c.Host + "/team/app")
	first, second, unsigned := c.push("team/app:v1", "one"), c.push("team/app:v2", "two"), c.push("team/app:v3", "three")
	elsewhere := c.push("team/other:v1", "one")
	c.sign("jo", "team/app", first, "-a", "env=prod")
	c.sign("rsa", "team/app", first)
	c.sign("ed", "team/app", first)
	for _, key := range []string{"jo", "rsa", "ed"} {
		c.sign(key, "team/app", second, newFormat()...)
	}
	if first != elsewhere {
		t.Fatal("the same image has two digests")
	}

	k := newKeyring(t)
	add(t, k, c.Host+"/team", jo)
	ask := func(k *trust.Keyring, name image.Name, d image.Digest, sigs image.Signatures, want string) {
		t.Helper()
		e, err := k.ExamineOCI([]image.Digest{d}, name, sigs)
		if err == nil {
			_, err = trust.Decide(trust.Request{Name: name, Digest: d, Source: d, Evidence: e})
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
	byTag, byBundle := c.signatures("team/app", first), c.signatures("team/app", second)
	if len(byTag.Simple) != 3 || len(byBundle.Bundles) != 3 {
		t.Fatalf("found %d and %d signatures", len(byTag.Simple), len(byBundle.Bundles))
	}
	ask(k, repo, first, byTag, "")
	ask(k, repo, second, byBundle, "")
	if err := c.verify("jo", "team/app", first); err != nil {
		t.Errorf("cosign does not agree: %v", err)
	}
	for _, key := range [][]byte{rsa, ed} {
		k := newKeyring(t)
		add(t, k, "", key)
		ask(k, repo, first, byTag, "")
		ask(k, repo, second, byBundle, "")
	}

	wrong := newKeyring(t)
	add(t, wrong, "", other)
	ask(wrong, repo, first, byTag, "not by a trusted key")
	ask(wrong, repo, second, byBundle, "not by a trusted key")
	if c.verify("other", "team/app", first) == nil {
		t.Error("cosign takes the wrong key")
	}
	ask(k, repo, unsigned, c.signatures("team/app", unsigned), "carries no signature")
	// What a registry can do: hang the signature of one image on another, and keep an
	// image under another name. Only what was signed without a name follows it there.
	ask(k, repo, second, byTag, "about another image")
	ask(k, repo, first, byBundle, "about another image")
	ask(k, image.Name(c.Host+"/team/other"), first, byTag, "about an image named")
	ask(k, image.Name(c.Host+"/team/other"), second, byBundle, "")
	ask(k, image.Name(c.Host+"/foreign/app"), second, byBundle, "trusted only for "+c.Host+"/team")
	// An old image under a new tag is still what was signed: minVersion is against that.
	ask(k, repo, first, byTag, "")

	p := byTag.Simple[0]
	p.Payload = []byte(strings.Replace(string(p.Payload), first.Hex(), unsigned.Hex(), 1))
	ask(k, repo, unsigned, image.Signatures{Simple: []image.SimpleSigning{p}}, "or was changed")
	var changed [][]byte
	for _, b := range byBundle.Bundles {
		changed = append(changed, bytes.Replace(b, []byte(`"payload":"`), []byte(`"payload":"AAAA`), 1))
	}
	ask(k, repo, second, image.Signatures{Bundles: changed}, "or was changed")

	checkAnnotations(t, k, repo, first, byTag)
	keys, err := k.List()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Remove(c.Host+"/team", keys[0].Fingerprint); err != nil {
		t.Fatal(err)
	}
	ask(k, repo, first, byTag, "not by a trusted key")
}

// checkAnnotations asks for what cosign sign -a has put there.
func checkAnnotations(t *testing.T, k *trust.Keyring, repo image.Name, d image.Digest, sigs image.Signatures) {
	t.Helper()
	e, err := k.ExamineOCI([]image.Digest{d}, repo, sigs)
	if err != nil {
		t.Fatal(err)
	}
	for value, ok := range map[string]bool{"prod": true, "test": false} {
		p := policy(t, rules("name: a\n  match: {name: \"**\"}\n  require: {signers: keyring, annotations: {env: "+value+"}}"))
		if _, err := trust.Decide(trust.Request{Name: repo, Digest: d, Source: d, Evidence: e, Policy: p}); (err == nil) != ok {
			t.Errorf("env=%s: %v", value, err)
		}
	}
}
