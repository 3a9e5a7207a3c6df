package pod_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

const appJSON = `{"exec":["/bin/app","-v"],"user":"1000","group":"100"}`

// host is a user's whole setting: a signed image, a store, a keyring.
type host struct {
	t     testing.TB
	dir   string
	store *store.Store
	keys  *trust.Keyring
	jo    *openpgp.Entity
	steps []string // that were told to Progress
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	var err error
	if h.store, err = store.Open(store.Options{Dir: h.path("store"), KeyFile: h.path("store.key")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	if h.keys, err = trust.OpenKeyring(h.path("trust.d")); err != nil {
		t.Fatal(err)
	}
	if h.jo, err = openpgp.NewEntity("Jo", "", "jo@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}); err != nil {
		t.Fatal(err)
	}
	h.trust("example.com")
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) trust(prefix string) {
	h.t.Helper()
	var key bytes.Buffer
	if err := h.jo.Serialize(&key); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.keys.Add(prefix, &key); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(name string, data []byte) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), data, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// sign writes the signature of data beside the image.
func (h *host) sign(name string, data []byte) {
	h.t.Helper()
	var sig bytes.Buffer
	params := &openpgp.SignParams{}
	if err := openpgp.ArmoredDetachSign(&sig, []*openpgp.Entity{h.jo}, bytes.NewReader(data), params); err != nil {
		h.t.Fatal(err)
	}
	h.write(name, sig.Bytes())
}

// image writes a signed image and returns its bytes.
func (h *host) image(name, text string) []byte {
	h.t.Helper()
	data := acitest.Compress(h.t, "gzip", acitest.Tar(h.t, acitest.Manifest(name, appJSON), acitest.Dir("rootfs"),
		acitest.File("rootfs/text", text)))
	h.write("app.aci", data)
	h.sign("app.aci.asc", data)
	return data
}

func (h *host) options() pod.Options {
	h.steps = nil
	return pod.Options{
		Path: h.path("app.aci"), Store: h.store, Keyring: h.keys,
		Progress: func(step string) { h.steps = append(h.steps, step) },
	}
}

// open must succeed.
func (h *host) open(o pod.Options) *pod.Pod {
	h.t.Helper()
	p, err := pod.Open(context.Background(), o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { p.Close() })
	if !p.Permits() {
		h.t.Error("the Pod is not permitted")
	}
	return p
}

// refuse must fail, and say all of want.
func (h *host) refuse(o pod.Options, want ...string) {
	h.t.Helper()
	p, err := pod.Open(context.Background(), o)
	if err == nil {
		p.Close()
		h.t.Fatalf("opened: %s", p.Verdict.How())
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			h.t.Errorf("got %q, want it to say %q", err, w)
		}
	}
}

// images lists what the store holds.
func (h *host) images() []string {
	h.t.Helper()
	names, err := filepath.Glob(h.path("store/v1/images/*"))
	if err != nil {
		h.t.Fatal(err)
	}
	return names
}

func TestOpen(t *testing.T) {
	h := newHost(t)
	h.image("example.com/app", "one")
	cold := h.open(h.options())
	if len(h.steps) != 2 {
		t.Errorf("cold: %q", h.steps)
	}
	if cold.Verdict.Tier() != trust.TierVM || !strings.Contains(cold.Verdict.How(), "Jo <jo@example.com>") {
		t.Errorf("verdict: %v, %s", cold.Verdict.Tier(), cold.Verdict.How())
	}
	if cold.Name != "example.com/app" || strings.Join(cold.App.Exec, " ") != "/bin/app -v" {
		t.Errorf("got %+v", cold)
	}
	warm := h.open(h.options())
	if len(h.steps) != 0 {
		t.Errorf("the second run took time for %q", h.steps)
	}
	if warm.RootFS.Digest != cold.RootFS.Digest || warm.RootFS.Info.RootHash != cold.RootFS.Info.RootHash {
		t.Error("the second run got another root")
	}
	if err := rootfs.VerifyTree(warm.RootFS.File(), warm.RootFS.Info); err != nil {
		t.Error(err)
	}
}

// TestEveryRunVerifies takes away each ground of a run that was granted before.
func TestEveryRunVerifies(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(h *host, data []byte)
		want   []string
	}{
		{
			"signature gone", func(h *host, _ []byte) { os.Remove(h.path("app.aci.asc")) },
			[]string{"app.aci.asc", "--insecure-no-verify"},
		},
		{"signature of something else", func(h *host, _ []byte) { h.sign("app.aci.asc", []byte("x")) }, []string{"not valid"}},
		{"signature huge", func(h *host, _ []byte) { os.Truncate(h.path("app.aci.asc"), 1<<30) }, []string{"more than"}},
		{"image changed", func(h *host, data []byte) { h.write("app.aci", append(data, 0)) }, []string{"not valid"}},
		{"image gone", func(h *host, _ []byte) { os.Remove(h.path("app.aci")) }, []string{"app.aci", "no such file"}},
		{"image is a folder", func(h *host, _ []byte) {
			os.Remove(h.path("app.aci"))
			os.Mkdir(h.path("app.aci"), 0o700)
		}, []string{"is a folder"}},
		{"trust withdrawn", func(h *host, _ []byte) {
			keys, _ := h.keys.List()
			h.keys.Remove("example.com", keys[0].Fingerprint)
		}, []string{"not trusted", "clearrun trust add --prefix"}},
		{"trust for another prefix only", func(h *host, _ []byte) {
			h.trust("example.com/other")
			keys, _ := h.keys.List()
			h.keys.Remove("example.com", keys[0].Fingerprint)
		}, []string{"trusted only for example.com/other", "--prefix example.com/app "}},
		{"store changed", func(h *host, _ []byte) { os.Truncate(h.images()[0]+"/root.img", 4096) }, []string{"root.img", "delete"}},
		{"no keyring", func(h *host, _ []byte) { h.keys = nil }, []string{"no keyring"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t)
			data := h.image("example.com/app", "one")
			h.open(h.options())
			tc.change(h, data)
			h.refuse(h.options(), tc.want...)
		})
	}
}

func TestRefusedIsNotStored(t *testing.T) {
	h := newHost(t)
	h.image("example.org/app", "one") // signed well, but not by somebody trusted for it
	h.refuse(h.options(), "trusted only for example.com")
	if got := h.images(); len(got) > 0 {
		t.Errorf("stored: %v", got)
	}
}

// TestInsecureIsForOneRun waves an image through, and asks again.
func TestInsecureIsForOneRun(t *testing.T) {
	h := newHost(t)
	h.image("example.com/app", "one")
	if err := os.Remove(h.path("app.aci.asc")); err != nil {
		t.Fatal(err)
	}
	o := h.options()
	o.InsecureNoVerify, o.Keyring = true, nil
	p := h.open(o)
	if p.Verdict.How() != "not verified" || !p.Verdict.Signer().IsZero() || p.Verdict.Tier() != trust.TierVM {
		t.Errorf("verdict: %+v", p.Verdict)
	}
	h.refuse(h.options(), "is not signed", "app.aci.asc")
}

// TestChangedBetweenReads changes the file after its signature was checked, when it
// is about to be unpacked.
func TestChangedBetweenReads(t *testing.T) {
	evil := func(t *testing.T) []byte {
		return acitest.Tar(t, acitest.Manifest("example.com/app", appJSON), acitest.Dir("rootfs"), acitest.File("rootfs/evil", "x"))
	}
	for _, insecure := range []bool{false, true} {
		h := newHost(t)
		h.image("example.com/app", "one")
		o := h.options()
		o.InsecureNoVerify = insecure
		o.Progress = func(step string) {
			if strings.HasPrefix(step, "unpacking") {
				h.write("app.aci", evil(t)) // the same file, with other content
			}
		}
		h.refuse(o, "changed while it was read")
		if got := h.images(); len(got) > 0 {
			t.Errorf("stored: %v", got)
		}
	}
	// A new file of the same name is another file: what runs is what was checked.
	h := newHost(t)
	h.image("example.com/app", "one")
	want := h.open(h.options()).RootFS.Digest
	if err := os.RemoveAll(h.path("store/v1/sources")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.path("store/v1/sources"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := h.options()
	o.Progress = func(string) {
		h.write("evil", evil(t))
		os.Rename(h.path("evil"), h.path("app.aci"))
	}
	if got := h.open(o).RootFS.Digest; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestPipe reads the image from a FIFO, which can be read once.
func TestPipe(t *testing.T) {
	h := newHost(t)
	data := h.image("example.com/app", "one")
	os.Remove(h.path("app.aci"))
	if err := unix.Mkfifo(h.path("app.aci"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(h.path("app.aci"), data, 0) }()
	h.open(h.options())
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

func TestSignaturePath(t *testing.T) {
	h := newHost(t)
	h.image("example.com/app", "one")
	if err := os.Rename(h.path("app.aci.asc"), h.path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	h.refuse(h.options(), "app.aci.asc")
	o := h.options()
	o.SignaturePath = h.path("elsewhere")
	h.open(o)
}

func TestLimitsApply(t *testing.T) {
	h := newHost(t)
	h.image("example.com/app", "one")
	o := h.options()
	o.Limits = image.DefaultLimits()
	o.Limits.Entries = 1
	h.refuse(o, "more than 1 entries")
}

func TestCancel(t *testing.T) {
	h := newHost(t)
	h.image("example.com/app", "one")
	ctx, cancel := context.WithCancel(context.Background())
	o := h.options()
	o.Progress = func(string) { cancel() }
	if _, err := pod.Open(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := h.images(); len(got) > 0 {
		t.Errorf("stored: %v", got)
	}
}

func TestNewAsksForPermission(t *testing.T) {
	h := newHost(t)
	h.image("example.com/one", "one")
	one := h.open(h.options())
	h.image("example.com/two", "two")
	two := h.open(h.options())
	if _, err := pod.New(trust.Verdict{}, one.RootFS, pod.Overrides{}); err == nil {
		t.Error("a Pod without a Verdict")
	}
	if _, err := pod.New(two.Verdict, one.RootFS, pod.Overrides{}); err == nil {
		t.Error("a Pod with another image's Verdict")
	}
	if (&pod.Pod{}).Permits() || (*pod.Pod)(nil).Permits() || (&pod.Pod{Verdict: two.Verdict, RootFS: one.RootFS}).Permits() {
		t.Error("permitted")
	}
}
