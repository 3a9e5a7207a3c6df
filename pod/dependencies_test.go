package pod_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// offer signs an image, puts it on the site and returns its bytes. rest is what its manifest
// says besides; files are paths and their text.
func (s *site) offer(h *host, name, rest string, files ...string) []byte {
	h.t.Helper()
	manifest := fmt.Sprintf(`{"acKind":"ImageManifest","acVersion":"0.8.11","name":%q,"app":%s%s}`, "example.com/"+name, appJSON, rest)
	entries := []acitest.Entry{acitest.File("manifest", manifest), acitest.Dir("rootfs")}
	for i := 0; i < len(files); i += 2 {
		entries = append(entries, acitest.File("rootfs/"+files[i], files[i+1]))
	}
	data := acitest.Tar(h.t, entries...)
	h.sign("offered.asc", data)
	signature, err := os.ReadFile(h.path("offered.asc"))
	if err != nil {
		h.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files["/"+name+".aci"], s.files["/"+name+".aci.asc"] = data, signature
	return data
}

// on is the part of a manifest that says what the image builds upon.
func on(names ...string) string {
	var list []string
	for _, n := range names {
		list = append(list, `{"imageName":"example.com/`+n+`"}`)
	}
	return `,"dependencies":[` + strings.Join(list, ",") + `]`
}

func newDependencySite(t *testing.T) *site {
	s := newSite(t)
	s.files["/"] = []byte(`<meta name="ac-discovery" content="example.com https://example.com/{name}.{ext}">`)
	s.rewrite = func(path string) string { return strings.Replace(path, "/example.com/", "/", 1) }
	return s
}

// content lists the files of a pod's root and what they hold.
func content(t *testing.T, p *pod.Pod) string {
	t.Helper()
	var buf bytes.Buffer
	if err := rootfs.Export(t.Context(), p.RootFS.File(), p.RootFS.Info, &buf); err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for tr := tar.NewReader(&buf); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			files[h.Name] = string(data)
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, name+"="+files[name])
	}
	return strings.Join(list, " ")
}

func TestDependencies(t *testing.T) {
	h, s := newHost(t), newDependencySite(t)
	s.offer(h, "base", `,"pathWhitelist":["/etc/base","/etc/shared","/.wh.x"]`, "etc/base", "base", "etc/shared", "base", "bin/dropped", "base", ".wh.x", "a file")
	s.offer(h, "mid", on("base"), "etc/shared", "mid", "x", "mid")
	s.offer(h, "side", "", "etc/side", "side", "x", "side")
	s.offer(h, "top", on("mid", "side"), "bin/app", "top")
	missing, never, always := s.reach(h, pod.PullMissing), s.reach(h, pod.PullNever), s.reach(h, pod.PullAlways)
	open := func(what, want string, change func(*pod.Options)) *pod.Pod {
		t.Helper()
		p, err := h.verified("appc:example.com/top", change)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		t.Cleanup(func() { p.Close() })
		if got := content(t, p); got != want {
			t.Errorf("%s: the root has %q, want %q", what, got, want)
		}
		if !p.Permits() || p.Verdict.ImageDigest() != p.RootFS.Digest {
			t.Errorf("%s: the verdict is not about this root", what)
		}
		return p
	}
	// Later ones over earlier ones, and the image over all.
	const want = ".wh.x=a file bin/app=top etc/base=base etc/shared=mid etc/side=side x=side"
	first := open("first", want, missing)
	images := len(h.images())
	if images != 4 {
		t.Errorf("%d images in the store, want 4", images)
	}
	if again := open("without a network", want, never); again.RootFS.Digest != first.RootFS.Digest || len(h.images()) != images {
		t.Error("the image was rendered once more")
	}
	s.offer(h, "base", "", "etc/base", "newer")
	second := open("with a newer base", "bin/app=top etc/base=newer etc/shared=mid etc/side=side x=side", always)
	if second.RootFS.Digest == first.RootFS.Digest || second.Image.OwnID() != first.Image.OwnID() {
		t.Error("the digest does not depend on what the image depends on")
	}
	open("the newer one without a network", "bin/app=top etc/base=newer etc/shared=mid etc/side=side x=side", never)
	// What is below is checked at every run.
	delete(s.files, "/side.aci.asc")
	h.mustRefuse("a dependency that is not signed any more", "appc:example.com/top", "dependency of example.com/top: image appc:example.com/side: is not signed", always)
	s.offer(h, "side", "", "etc/side", "side")
	s.offer(h, "evil", on("elsewhere"), "bin/app", "evil")
	s.files["/elsewhere.aci"], s.files["/elsewhere.aci.asc"] = s.files["/side.aci"], s.files["/side.aci.asc"]
	h.mustRefuse("another image", "appc:example.com/evil", "calls itself example.com/side", missing)
}

func TestDependenciesRefused(t *testing.T) {
	h, s := newHost(t), newDependencySite(t)
	base := s.offer(h, "base", "", "etc/base", "base")
	missing := s.reach(h, pod.PullMissing)
	wanting := func(what string) string {
		return `,"dependencies":[{"imageName":"example.com/base",` + what + `}]`
	}
	id := fmt.Sprintf("sha512-%x", sha512.Sum512(base))
	s.offer(h, "right", wanting(fmt.Sprintf(`"imageID":%q,"size":%d`, id, len(base))))
	if p, err := h.verified("appc:example.com/right", missing); err != nil {
		t.Error(err)
	} else {
		p.Close()
	}
	chain := 40
	for i := range chain {
		s.offer(h, fmt.Sprintf("chain%d", i), on(fmt.Sprintf("chain%d", i+1)))
	}
	s.offer(h, "self", on("self"))
	s.offer(h, "a", on("b"))
	s.offer(h, "b", on("a"))
	// Each level doubles the work.
	for i := range 10 {
		next := fmt.Sprintf("wide%d", i+1)
		s.offer(h, fmt.Sprintf("wide%d", i), on(next, next))
	}
	s.offer(h, "wide10", "")
	for _, tt := range []struct{ name, rest, want string }{
		{"id", wanting(`"imageID":"sha512-` + strings.Repeat("0", 128) + `"`), "with the ID sha512-000"},
		{"size", wanting(`"size":1`), "depends on one of 1"},
		{"label", wanting(`"labels":[{"name":"version","value":"1,os=x"}]`), "cannot be asked for"},
		{"absent", on("nowhere"), "404"},
		{"self", "", "depends on itself"},
		{"a", "", "depends on itself"},
		{"chain0", "", "more than 16 others, one from the next"},
		{"wide0", "", "more than 64 images are needed"},
	} {
		if tt.rest != "" {
			s.offer(h, tt.name, tt.rest)
		}
		h.mustRefuse(tt.name, "appc:example.com/"+tt.name, tt.want, missing)
		if e, err := h.explain("appc:example.com/"+tt.name, missing); err != nil || e.Allowed || !strings.Contains(e.Decision, tt.want) {
			t.Errorf("%s, explained: %v, %v", tt.name, e.Decision, err)
		}
	}
	if n := len(h.images()); n > 15 { // those that stand on their own
		t.Errorf("%d images in the store", n)
	}
}

// explain is what `clearrun policy check` does. Nothing of the images is kept.
func (h *host) explain(reference string, change func(*pod.Options)) (trust.Explanation, error) {
	h.t.Helper()
	o := h.options()
	o.Path, o.SignaturePath = reference, ""
	change(&o)
	before := len(h.images())
	e, err := pod.Check(h.t.Context(), o)
	if n := len(h.images()); n != before {
		h.t.Errorf("%s: the explanation has left %d images in the store", reference, n-before)
	}
	return e, err
}

// TestDependenciesByPolicy asks the policy for each image at its run.
func TestDependenciesByPolicy(t *testing.T) {
	h, s := newHost(t), newDependencySite(t)
	base := s.offer(h, "base", "", "etc/base", "base")
	s.offer(h, "top", on("base"))
	missing := s.reach(h, pod.PullMissing)
	for _, tt := range []struct{ rules, want string }{
		{"{name: base, match: {name: example.com/base}, require: {signers: keyring}, tiers: [ns, vm]}", ""},
		{"{name: base, match: {name: example.com/base}, require: {signers: keyring}, tiers: [vm]}", "tier ns was asked for"},
		{"{name: base, match: {name: example.com/base}, deny: true}", `denied by rule "base"`},
		{fmt.Sprintf("{name: bytes, match: {digest: sha512-%x}, deny: true}", sha512.Sum512(base)), `denied by rule "bytes"`},
	} {
		text := "rules:\n- " + tt.rules + "\n- {name: rest, match: {name: \"**\"}, require: {signers: keyring}, tiers: [ns, vm]}\n"
		rules, err := trust.ParsePolicy("policy.yaml", []byte(text), pod.Vocabulary())
		if err != nil {
			t.Fatal(err)
		}
		change := func(o *pod.Options) { missing(o); o.Policy = rules }
		e, err := h.explain("appc:example.com/top", change)
		if err != nil || len(e.Dependencies) != 1 || e.Dependencies[0].Image != "example.com/base" || e.Dependencies[0].Allowed != e.Allowed ||
			e.Allowed != (tt.want == "") || !strings.Contains(e.Decision, tt.want) || e.Allowed != (e.Tier == "ns") {
			t.Errorf("%s, explained: %+v, %v", tt.rules, e, err)
		}
		if tt.want != "" {
			h.mustRefuse(tt.rules, "appc:example.com/top", tt.want, change)
			continue
		}
		p, err := h.verified("appc:example.com/top", change)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
}
