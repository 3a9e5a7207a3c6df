package pod_test

import (
	"bytes"
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
	"github.com/clearrun/clearrun/pod"
)

// cosign runs the real one, offline, in dir.
func cosign(t *testing.T, dir string, args ...string) {
	t.Helper()
	program, err := filepath.Abs("../build/tools/cosign") // hack/deps.sh builds it
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=", "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cosign %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// cosignHost is a host that trusts a key of the real cosign's for app of the registry.
func cosignHost(t *testing.T) (*host, *registrytest.Registry) {
	t.Helper()
	if _, err := os.Stat("../build/tools/cosign"); err != nil && os.Getenv("CI") == "" {
		t.Skip("no cosign: make deps builds it")
	}
	h := newHost(t)
	h.write("auth.json", []byte("{}"))
	r := registrytest.Start(t, registrytest.Options{})
	cosign(t, h.dir, "generate-key-pair")
	pub, err := os.ReadFile(h.path("cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.keys.Add(r.Host+"/app", bytes.NewReader(pub)); err != nil {
		t.Fatal(err)
	}
	return h, r
}

// TestCosign goes all the way with what the real cosign puts into a real registry: from
// there, and from the layout that cosign save makes of it.
func TestCosign(t *testing.T) {
	h, r := cosignHost(t)
	always := h.pulling(pod.PullAlways)
	l := ocitest.New(t)
	build := func(text string) v1.Descriptor {
		d := l.Image(ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/x"}}), ocitest.Layer{Tar: acitest.Tar(t, acitest.File("x", text))})
		d.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
		return d
	}
	tagged, bundled, inIndex := build("tag"), build("bundle"), build("index")
	index := l.IndexOf(inIndex)
	sign := func(name string, d v1.Descriptor, flags ...string) string {
		l.Tag(d, name)
		r.Push("oci:"+l.Dir+":"+name, "app:"+name, "--preserve-digests", "--all")
		h.mustRefuse(name+", not signed yet", "docker://"+r.Host+"/app:"+name, "no signature", always)
		args := append([]string{"sign", "--yes", "--key", "cosign.key", "--tlog-upload=false", "--allow-http-registry"}, flags...)
		cosign(t, h.dir, append(args, r.Host+"/app@"+string(d.Digest))...)
		return "docker://" + r.Host + "/app:" + name
	}
	h.mustOpen("by tag", sign("tag", tagged), tagged, always)
	h.mustOpen("by referrer", sign("bundle", bundled, "--new-bundle-format", "--use-signing-config=false"), bundled, always)
	h.mustOpen("the index is signed", sign("index", index), inIndex, always)
	cosign(t, h.dir, "save", "--allow-http-registry", "--dir", "saved", r.Host+"/app:tag")
	h.mustRefuse("cosign save, without its name", "oci:"+h.path("saved"), r.Host+"/app")
	h.mustOpen("cosign save", "oci:"+h.path("saved"), tagged, func(o *pod.Options) { o.Name = image.Name(r.Host + "/app") })
}
