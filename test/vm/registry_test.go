package vm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/ocitest"
	"github.com/clearrun/clearrun/image/registrytest"
)

// shellImage is a layout with busybox in two layers, of which the upper one removes a
// file of the lower one. The image is v1.
func shellImage(t *testing.T) (*ocitest.Layout, v1.Descriptor) {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		cannot(t, err.Error())
	}
	program := acitest.File("bin/busybox", string(busybox))
	program.Mode = 0o755
	lower := acitest.Tar(t, program, acitest.File("etc/lower", "1"), acitest.File("etc/gone", "2"))
	upper := acitest.Tar(t, acitest.File("etc/.wh.gone", ""), acitest.File("etc/upper", "3"), acitest.File("etc/passwd", "www:x:33:34::/srv:/bin/sh\n"))
	l := ocitest.New(t)
	d := l.Image(ocitest.Config(v1.ImageConfig{
		Entrypoint: []string{"/bin/busybox", "sh", "-c"}, Cmd: []string{"echo the image's own arguments"},
		User: "www", WorkingDir: "/etc", Env: []string{"GREETING=from the image"},
	}), ocitest.Layer{MediaType: v1.MediaTypeImageLayerZstd, Compressed: acitest.Compress(t, "zstd", lower), Tar: lower},
		ocitest.Layer{Tar: upper})
	l.Tag(d, "v1")
	return l, d
}

// TestRegistry takes an image from a registry, by its signature, and runs it in a VM
// when the registry is gone.
func TestRegistry(t *testing.T) {
	needVM(t)
	l, d := shellImage(t)
	r := registrytest.Start(t, registrytest.Options{})
	r.Push("oci:"+l.Dir+":v1", "app:v1", "--preserve-digests")
	p, reference := fresh(t), "docker://"+r.Host+"/app:v1"
	key := ocitest.NewKey(t)
	pub := filepath.Join(shared.tempDir(t), "cosign.pub")
	if err := os.WriteFile(pub, key.Public(t), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, p, "trust", "add", "--prefix", r.Host+"/app", "--yes", pub).check(t, 0)
	run(t, p, "image", "pull", reference).complains(t, exitFailure, "app:v1", "no signature")

	tag := l.Sign(d, r.Host+"/app", key)
	r.Push("oci:"+l.Dir+":"+tag, "app:"+tag, "--preserve-digests")
	pulled := run(t, p, "image", "pull", "--json", reference)
	pulled.check(t, 0)
	var answer struct{ Name, Digest string }
	if err := json.Unmarshal([]byte(pulled.stdout), &answer); err != nil {
		t.Fatal(err, pulled)
	}
	if answer.Name != r.Host+"/app" || answer.Digest != "sha256-"+d.Digest.Encoded() {
		t.Errorf("pulled %+v, want %s", answer, d.Digest)
	}
	check := run(t, p, "policy", "check", reference)
	if check.check(t, 0); !strings.Contains(check.stdout, "ALLOWED at tier vm") {
		t.Errorf("policy check says %v", check)
	}
	r.Stop()

	takeSlot(t)
	got := run(t, p, "--vm", "--pull", "never", reference, "--",
		`b=/bin/busybox; $b ls; pwd; $b id -u; $b id -g; $b cat lower upper; echo "$GREETING"`)
	got.check(t, 0)
	if want := "hostname\nhosts\nlower\npasswd\nupper\n/etc\n33\n34\n13from the image\n"; got.stdout != want {
		t.Errorf("got %q, want %q", got.stdout, want)
	}
}
