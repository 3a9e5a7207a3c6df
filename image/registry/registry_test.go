package registry_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/oci"
	"github.com/clearrun/clearrun/image/ocitest"
	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/image/registry"
	"github.com/clearrun/clearrun/image/registrytest"
)

// noise is data that hardly compresses, so that layers have a size.
func noise(seed, n int) string {
	var buf bytes.Buffer
	for x := uint32(seed); buf.Len() < n; {
		x = x*1664525 + 1013904223
		buf.WriteByte(byte(x >> 24))
	}
	return buf.String()
}

// layout is an image with a few layers, named v1.
func layout(t testing.TB) (*ocitest.Layout, v1.Descriptor) {
	t.Helper()
	l := ocitest.New(t)
	var layers []ocitest.Layer
	for i := range 6 {
		layers = append(layers, ocitest.Layer{Tar: acitest.Tar(t, acitest.File(fmt.Sprint("f", i), noise(i+1, 300_000)))})
	}
	d := l.Image(ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/x"}}), layers...)
	l.Tag(d, "v1")
	return l, d
}

// options are those of a user with no credentials.
func options(t testing.TB) registry.Options {
	t.Helper()
	auth := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(auth, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := registry.Options{CacheDir: filepath.Join(t.TempDir(), "cache"), AuthFile: auth}
	o.SetFirstWait(time.Millisecond)
	return o
}

// pull gets an image with all layers.
func pull(t testing.TB, reference string, o registry.Options) (*image.Image, error) {
	t.Helper()
	ctx := context.Background()
	r, err := ref.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := registry.Open(ctx, r, o)
	if err != nil {
		return nil, err
	}
	defer remote.Close()
	a, err := oci.Resolve(ctx, remote, remote.Root, r.Name, image.Limits{})
	if err != nil {
		return nil, err
	}
	if err := remote.Start(a.Layers); err != nil {
		return nil, err
	}
	img, err := a.Read(ctx, t.TempDir())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { img.Close() })
	remote.Discard()
	return img, nil
}

func checkImage(t testing.TB, what string, img *image.Image, err error, want v1.Descriptor) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if img.Digest().Hex() != want.Digest.Encoded() || len(img.Layers()) != 6 {
		t.Errorf("%s: got %s with %d layers, want %s", what, img.Digest(), len(img.Layers()), want.Digest)
	}
}

// cached lists the files in the cache.
func cached(t testing.TB, o registry.Options) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(o.CacheDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestPull(t *testing.T) {
	l, d := layout(t)
	r := registrytest.Start(t, registrytest.Options{})
	r.Push("oci:"+l.Dir+":v1", "org/app:v1", "--preserve-digests")
	o := options(t)
	var last registry.Progress
	o.Progress = func(p registry.Progress) { last = p }
	for _, name := range []string{"org/app:v1", "org/app@" + d.Digest.String(), "org/app:gone@" + d.Digest.String()} {
		last = registry.Progress{}
		img, err := pull(t, "docker://"+r.Host+"/"+name, o)
		checkImage(t, name, img, err, d)
		if last.Done != last.Total || last.Layers != 6 || last.Total < 6*300_000 {
			t.Errorf("%s: progress %+v", name, last)
		}
		if img != nil && img.Name() != image.Name(r.Host+"/org/app") {
			t.Errorf("%s: named %s", name, img.Name())
		}
	}
	if left := cached(t, o); len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
	for name, want := range map[string]string{
		"org/app:v2": "no such image", "org/none:v1": "no such image",
		"org/app@sha256:" + strings.Repeat("0", 64): "no such image",
	} {
		if _, err := pull(t, "docker://"+r.Host+"/"+name, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

func TestConcurrentPulls(t *testing.T) {
	l, d := layout(t)
	r := registrytest.Start(t, registrytest.Options{})
	r.Push("oci:"+l.Dir+":v1", "app:v1", "--preserve-digests")
	o := options(t)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			img, err := pull(t, "docker://"+r.Host+"/app:v1", o)
			checkImage(t, "one of three", img, err, d)
		})
	}
	group.Wait()
	if left := cached(t, o); len(left) > 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

func TestTLS(t *testing.T) {
	l, d := layout(t)
	r := registrytest.Start(t, registrytest.Options{TLS: true})
	r.Push("oci:"+l.Dir+":v1", "app:v1", "--preserve-digests")
	o := options(t)
	reference := "docker://" + r.Host + "/app:v1"
	if _, err := pull(t, reference, o); err == nil || !strings.Contains(err.Error(), "--tls-ca") {
		t.Errorf("an unknown authority: %v", err)
	}
	o.CAFile = r.CA
	img, err := pull(t, reference, o)
	checkImage(t, "with its authority", img, err, d)
	o.CAFile = filepath.Join(l.Dir, "index.json")
	if _, err := pull(t, reference, o); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("a file without a certificate: %v", err)
	}
	// podman's place for the certificates of one host.
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	certs := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "containers/certs.d", r.Host)
	data, err := os.ReadFile(r.CA)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, "ca.crt"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	o.CAFile = ""
	img, err = pull(t, reference, o)
	checkImage(t, "certs.d", img, err, d)
}

func TestCredentials(t *testing.T) {
	l, d := layout(t)
	r := registrytest.Start(t, registrytest.Options{User: "jo", Password: "secret"})
	r.Push("oci:"+l.Dir+":v1", "org/app:v1", "--preserve-digests", "--dest-creds", "jo:secret")
	reference := "docker://" + r.Host + "/org/app:v1"
	dir := t.TempDir()
	file := func(text string) string {
		f, err := os.CreateTemp(dir, "auth")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.WriteString(text)
		return f.Name()
	}
	login := func(key, password string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, base64.StdEncoding.EncodeToString([]byte("jo:"+password)))
	}
	// A credential helper speaks docker's protocol: a host on stdin, JSON on stdout.
	helper := "#!/bin/sh\nread host\necho '{\"ServerURL\":\"'$host'\",\"Username\":\"jo\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	o := options(t)
	for name, text := range map[string]string{
		"docker": login(r.Host, "secret"), "podman, by organization": login(r.Host+"/org", "secret"),
		"podman, by repository": login(r.Host+"/org/app", "secret"), "helper": `{"credHelpers":{"` + r.Host + `":"test"}}`,
		"store": `{"credsStore":"test"}`,
	} {
		o.AuthFile = file(text)
		img, err := pull(t, reference, o)
		checkImage(t, name, img, err, d)
	}
	for name, text := range map[string]string{
		"none": "{}", "of another host": login("example.com", "secret"),
		"wrong": login(r.Host, "guess"),
	} {
		o.AuthFile = file(text)
		if _, err := pull(t, reference, o); err == nil || !strings.Contains(err.Error(), "access denied") {
			t.Errorf("credentials %s: %v", name, err)
		}
	}
	o.AuthFile = filepath.Join(dir, "none")
	if _, err := pull(t, reference, o); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
	// Without a name, the places of docker and podman count.
	o.AuthFile = ""
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	os.Rename(file(login(r.Host, "secret")), filepath.Join(dir, "config.json"))
	img, err := pull(t, reference, o)
	checkImage(t, "docker's place", img, err, d)
	os.Remove(filepath.Join(dir, "config.json"))
	os.Mkdir(filepath.Join(dir, "containers"), 0o700)
	os.Rename(file(login(r.Host, "secret")), filepath.Join(dir, "containers/auth.json"))
	img, err = pull(t, reference, o)
	checkImage(t, "podman's place", img, err, d)
}

func TestMirrors(t *testing.T) {
	l, d := layout(t)
	r := registrytest.Start(t, registrytest.Options{})
	r.Push("oci:"+l.Dir+":v1", "hub/library/app:v1", "--preserve-digests")
	empty := registrytest.Start(t, registrytest.Options{})
	rules := func(text string) registry.Options {
		m, err := registry.ParseMirrors([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		o := options(t)
		o.Mirrors = m
		return o
	}
	o := rules("registries:\n- prefix: docker.io\n  mirrorsOnly: true\n  mirrors: [{location: " + empty.Host + "/x}, {location: " + r.Host + "/hub}]\n")
	img, err := pull(t, "docker://app:v1", o)
	checkImage(t, "the second mirror", img, err, d)
	if img != nil && img.Name() != "docker.io/library/app" {
		t.Errorf("the mirror changed the name to %s", img.Name())
	}
	if _, err := pull(t, "docker://app:v2", o); err == nil || !strings.Contains(err.Error(), empty.Host) || !strings.Contains(err.Error(), r.Host) {
		t.Errorf("no mirror has it: %v", err)
	}
	// The registry itself comes last.
	o = rules("registries:\n- prefix: " + r.Host + "/hub\n  mirrors: [{location: " + empty.Host + "}]\n")
	img, err = pull(t, "docker://"+r.Host+"/hub/library/app:v1", o)
	checkImage(t, "the registry itself", img, err, d)
	o = rules("registries:\n- prefix: " + r.Host + "\n  mirrorsOnly: true\n")
	if _, err := pull(t, "docker://"+r.Host+"/hub/library/app:v1", o); err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("blocked: %v", err)
	}
}

// push copies blobs of a layout as they are, also such that are no image.
func push(t *testing.T, repo *remote.Repository, l *ocitest.Layout, tag string, manifest v1.Descriptor, blobs ...v1.Descriptor) {
	t.Helper()
	ctx := context.Background()
	for _, d := range append(blobs, manifest) {
		data, err := os.ReadFile(l.Path(d))
		if err != nil {
			t.Fatal(err)
		}
		if err := repo.Push(ctx, d, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	if tag != "" {
		if err := repo.Tag(ctx, manifest, tag); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSignatures(t *testing.T) {
	const (
		payload = "application/vnd.dev.cosign.simplesigning.v1+json"
		bundle  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	)
	l, d := layout(t)
	r := registrytest.Start(t, registrytest.Options{})
	r.Push("oci:"+l.Dir+":v1", "app:v1", "--preserve-digests")
	empty := l.Blob(v1.MediaTypeEmptyJSON, []byte("{}"))
	manifest := func(subject *v1.Descriptor, layer v1.Descriptor) v1.Descriptor {
		return l.JSON(v1.MediaTypeImageManifest, v1.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: empty,
			Layers: []v1.Descriptor{layer}, Subject: subject,
		})
	}
	repo, err := remote.NewRepository(r.Host + "/app")
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	blob := l.Blob(bundle, []byte(`{"b":1}`))
	push(t, repo, l, "", manifest(&d, blob), empty, blob) // this registry knows no referrers: oras keeps an index
	simple := l.Blob(payload, []byte("text"))
	annotated := simple
	annotated.Annotations = map[string]string{"dev.cosignproject.cosign/signature": "AQ=="}
	push(t, repo, l, "sha256-"+d.Digest.Encoded()+".sig", manifest(nil, annotated), empty, simple)
	reference, err := ref.Parse("docker://" + r.Host + "/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	remote, err := registry.Open(ctx, reference, options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	a, err := oci.Resolve(ctx, remote, remote.Root, reference.Name, image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Signatures(ctx)
	want := image.Signatures{
		Simple:  []image.SimpleSigning{{Payload: []byte("text"), Signature: []byte{1}}},
		Bundles: [][]byte{[]byte(`{"b":1}`)},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
