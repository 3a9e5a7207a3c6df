package pod_test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/ocitest"
	"github.com/clearrun/clearrun/image/registrytest"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// trustCosign trusts a key for images below prefix.
func (h *host) trustCosign(prefix string, k ocitest.Key) (fingerprint string) {
	h.t.Helper()
	keys, err := h.keys.Add(prefix, bytes.NewReader(k.Public(h.t)))
	if err != nil || len(keys) != 1 {
		h.t.Fatal(keys, err)
	}
	return keys[0].Fingerprint
}

// verified opens a reference as clearrun does by default.
func (h *host) verified(reference string, change ...func(*pod.Options)) (*pod.Pod, error) {
	return h.unverified(reference, append([]func(*pod.Options){func(o *pod.Options) { o.InsecureNoVerify = false }}, change...)...)
}

// mustOpen checks that a reference opens, as the image with the digest of d.
func (h *host) mustOpen(what, reference string, d v1.Descriptor, change ...func(*pod.Options)) {
	h.t.Helper()
	p, err := h.verified(reference, change...)
	if err != nil {
		h.t.Errorf("%s: %v", what, err)
		return
	}
	defer p.Close()
	if got := p.Verdict.ImageDigest().Hex(); got != d.Digest.Encoded() || p.Verdict.Signer().IsZero() {
		h.t.Errorf("%s: %s runs, signed by %v; want %s", what, got, p.Verdict.Signer(), d.Digest)
	}
}

func (h *host) mustRefuse(what, reference, want string, change ...func(*pod.Options)) {
	h.t.Helper()
	if p, err := h.verified(reference, change...); err == nil || !strings.Contains(err.Error(), want) {
		h.t.Errorf("%s: got %v, %v; want an error with %q", what, p, err, want)
	}
}

func TestSignedLayout(t *testing.T) {
	h := newHost(t)
	key, other := ocitest.NewKey(t), ocitest.NewKey(t)
	fingerprint := h.trustCosign("example.com/app", key)
	l := ocitest.New(t)
	build := func(text string) v1.Descriptor {
		return l.Image(ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/bin/app"}}), ocitest.Layer{Tar: acitest.Tar(t, acitest.File("bin/app", text))})
	}
	good, unsigned, mallory, moved, index := build("good"), build("unsigned"), build("mallory"), build("moved"), build("index")
	list := l.IndexOf(index)
	for name, d := range map[string]v1.Descriptor{"good": good, "unsigned": unsigned, "mallory": mallory, "moved": moved, "index": list} {
		l.Tag(d, "example.com/app:"+name)
	}
	l.Tag(good, "example.com/other:good")
	l.Sign(good, "example.com/app", key)
	l.Sign(mallory, "example.com/app", other)
	l.Sign(moved, "example.com/app/elsewhere", key)
	l.Sign(list, "example.com/app", key)
	in := func(name string) string { return "oci:" + l.Dir + ":example.com/" + name }
	h.mustOpen("signed", in("app:good"), good)
	h.mustOpen("signed, from the store", in("app:good"), good)
	h.mustOpen("its index is signed", in("app:index"), index)
	h.mustRefuse("unsigned", in("app:unsigned"), "no signature")
	h.mustRefuse("signed by somebody else", in("app:mallory"), "not by a trusted key")
	h.mustRefuse("signed for another name", in("app:moved"), "example.com/app/elsewhere")
	h.mustRefuse("the same bytes under another name", in("other:good"), "not signed")
	h.write("a.tar", l.Tar())
	h.mustOpen("in a tar", "oci-archive:"+h.path("a.tar")+":example.com/app:good", good)
	// Waved through once is not trusted for ever.
	p, err := h.unverified(in("app:unsigned"))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	h.mustRefuse("unsigned, but in the store", in("app:unsigned"), "no signature")
	if err := h.keys.Remove("example.com/app", fingerprint); err != nil {
		t.Fatal(err)
	}
	h.mustRefuse("its key is not trusted any more", in("app:good"), "not by a trusted key")
}

// remoteHost is a host beside a registry with a signed image, app:v1.
func remoteHost(t *testing.T) (*host, *registrytest.Registry, *ocitest.Layout, v1.Descriptor, ocitest.Key) {
	h := newHost(t)
	h.write("auth.json", []byte("{}"))
	r := registrytest.Start(t, registrytest.Options{})
	key := ocitest.NewKey(t)
	h.trustCosign(r.Host+"/app", key)
	l, d := ociImage(t, "one")
	push(r, l, "v1", l.Sign(d, r.Host+"/app", key))
	return h, r, l, d, key
}

func push(r *registrytest.Registry, l *ocitest.Layout, tags ...string) {
	for _, tag := range tags {
		r.Push("oci:"+l.Dir+":"+tag, "app:"+tag, "--preserve-digests")
	}
}

// pulling sets what the tests of registries have in common.
func (h *host) pulling(policy pod.PullPolicy) func(*pod.Options) {
	return func(o *pod.Options) { o.Pull, o.Registry.AuthFile = policy, h.path("auth.json") }
}

func TestRemote(t *testing.T) {
	h, r, l, d, key := remoteHost(t)
	reference := "docker://" + r.Host + "/app:v1"
	never, missing, always := h.pulling(pod.PullNever), h.pulling(pod.PullMissing), h.pulling(pod.PullAlways)
	h.mustRefuse("never pulled", reference, "not in the store", never)
	h.mustOpen("pulled", reference, d, missing)
	h.mustOpen("in the store", reference, d, never)
	h.mustOpen("still the same", reference, d, always)
	// The tag moves to an image that nobody has signed.
	evil := l.Image(ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/x"}}), ocitest.Layer{Tar: acitest.Tar(t, acitest.File("x", "evil"))})
	l.Tag(evil, "evil")
	r.Push("oci:"+l.Dir+":evil", "app:v1", "--preserve-digests")
	h.mustOpen("the tag moved, and nobody looks", reference, d, missing)
	h.mustRefuse("the tag moved", reference, "no signature", always)
	h.mustOpen("what was refused changes nothing", reference, d, missing)
	h.mustOpen("by digest", "docker://"+r.Host+"/app@"+d.Digest.String(), d, missing)
	// Then it is signed, and the network fails.
	push(r, l, l.Sign(evil, r.Host+"/app", key))
	h.mustOpen("signed", reference, evil, always)
	r.Stop()
	h.mustOpen("offline", reference, evil, missing)
	e, err := pod.Check(context.Background(), pod.Options{Path: reference, Store: h.store, Keyring: h.keys})
	if err != nil || !e.Allowed || !strings.HasSuffix(e.Digest, evil.Digest.Encoded()) {
		t.Errorf("checked offline: %+v, %v", e, err)
	}
	h.mustRefuse("offline, asked for", reference, "connection refused", always)
	if refs, err := h.store.References(); err != nil || len(refs) != 2 {
		t.Errorf("the store remembers %v, %v", refs, err)
	}
}

func TestRemoteIsVerifiedAgain(t *testing.T) {
	h, r, l, d, _ := remoteHost(t)
	other := l.Image(ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/x"}}), ocitest.Layer{Tar: acitest.Tar(t, acitest.File("x", "y"))})
	l.Tag(other, "unsigned")
	push(r, l, "unsigned")
	missing := h.pulling(pod.PullMissing)
	signed, unsigned := "docker://"+r.Host+"/app:v1", "docker://"+r.Host+"/app:unsigned"
	pulled, err := pod.Pull(context.Background(), pod.Options{Path: signed, Store: h.store, Keyring: h.keys})
	if err != nil || pulled.Digest.Hex() != d.Digest.Encoded() || pulled.Bytes == 0 || pulled.Name != image.Name(r.Host+"/app") {
		t.Errorf("pulled %+v, %v", pulled, err)
	}
	p, err := h.unverified(unsigned, missing)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	r.Stop()
	h.mustRefuse("unsigned, in the store", unsigned, "--pull always", missing)
	keys, err := h.keys.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if strings.HasPrefix(string(k.Prefix), r.Host) {
			if err := h.keys.Remove(string(k.Prefix), k.Fingerprint); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.mustRefuse("its key is gone", signed, "not by a trusted key", missing)
	if _, err := h.store.Reference("docker://" + r.Host + "/app:v2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a tag that was never pulled: %v", err)
	}
}

// TestDockerArchive has an archive that nobody can sign: a rule that pins its digest lets
// it run, whatever it calls itself, and nothing else.
func TestDockerArchive(t *testing.T) {
	h := newHost(t)
	l, _ := ociImage(t, "one")
	other, _ := ociImage(t, "two")
	saved := func(l *ocitest.Layout, name string) string {
		path := h.path(name)
		if out, err := exec.Command("skopeo", "copy", "--quiet", "--insecure-policy", "oci:"+l.Dir+":v1", "docker-archive:"+path+":example.com/app:v1").CombinedOutput(); err != nil {
			t.Fatalf("skopeo: %v: %s", err, out)
		}
		return "docker-archive:" + path
	}
	pinned, evil := saved(l, "pinned.tar"), saved(other, "evil.tar")
	h.mustRefuse("without a policy", pinned, "no signature")
	p, err := h.unverified(pinned)
	if err != nil {
		t.Fatal(err)
	}
	digest := p.Verdict.ImageDigest()
	p.Close()
	text := "rules:\n- name: pinned\n  match: {name: example.com/app, digest: " + digest.String() + "}\n  require: {none: true}\n"
	rules, err := trust.ParsePolicy("policy.yaml", []byte(text), pod.Vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	with := func(o *pod.Options) { o.Policy = rules }
	if p, err = h.verified(pinned, with); err != nil {
		t.Error(err)
	} else {
		p.Close()
	}
	h.mustRefuse("another one of that name", evil, "no rule", with)
}
