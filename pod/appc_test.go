package pod_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/pod"
)

// site is the web server of example.com, with TLS, on this host.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked []string
	// rewrite says which file is meant by a path; nil: that of the path.
	rewrite func(path string) string
}

func newSite(t *testing.T) *site {
	s := &site{files: make(map[string][]byte)}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.URL.String())
		path := r.URL.Path
		if s.rewrite != nil {
			path = s.rewrite(path)
		}
		data, ok := s.files[path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(data)
	}))
	t.Cleanup(s.Close)
	return s
}

// reach lets a run find example.com at the site.
func (s *site) reach(h *host, policy pod.PullPolicy) func(*pod.Options) {
	h.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return func(o *pod.Options) {
		o.Pull, o.Discovery.CAFile = policy, h.path("ca.pem")
		o.Discovery.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		}
	}
}

// publish puts an image and its signature on the site.
func (s *site) publish(h *host, version, name, labels string) {
	manifest := fmt.Sprintf(`{"acKind":"ImageManifest","acVersion":"0.8.11","name":%q,"labels":[%s],"app":%s}`, name, labels, appJSON)
	data := acitest.Tar(h.t, acitest.File("manifest", manifest), acitest.File("rootfs/bin/app", version))
	h.sign("published.asc", data)
	signature, err := os.ReadFile(h.path("published.asc"))
	if err != nil {
		h.t.Fatal(err)
	}
	base := "/images/example.com/app/web-" + version
	s.files[base+".aci"], s.files[base+".aci.asc"] = data, signature
}

func TestAppcDiscovery(t *testing.T) {
	h, s := newHost(t), newSite(t)
	s.files["/app"] = []byte(`<meta name="ac-discovery" content="example.com/app https://example.com/images/{name}-{version}.{ext}">` +
		`<meta name="ac-discovery-pubkeys" content="example.com https://example.com/key.asc">`)
	s.publish(h, "1.0", "example.com/app/web", `{"name":"version","value":"1.0"}`)
	s.publish(h, "latest", "example.com/app/web", "")
	s.publish(h, "2.0", "example.com/app/web", `{"name":"version","value":"1.0"}`)
	s.publish(h, "3.0", "example.com/app/other", "")
	missing, never := s.reach(h, pod.PullMissing), s.reach(h, pod.PullNever)
	open := func(what, reference string, change func(*pod.Options)) {
		t.Helper()
		p, err := h.verified(reference, change)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		defer p.Close()
		if p.Name != "example.com/app/web" || p.Verdict.Signer().IsZero() {
			t.Errorf("%s: %s, signed by %v", what, p.Name, p.Verdict.Signer())
		}
	}
	h.mustRefuse("never fetched", "appc:example.com/app/web:1.0", "not in the store", never)
	open("by version", "appc:example.com/app/web:1.0", missing)
	if want := "/app/web?ac-discovery=1 /app?ac-discovery=1 /images/example.com/app/web-1.0.aci /images/example.com/app/web-1.0.aci.asc"; strings.Join(s.asked, " ") != want {
		t.Errorf("asked for %q, want %q", s.asked, want)
	}
	open("the latest", "appc:example.com/app/web", missing)
	h.mustRefuse("another version", "appc:example.com/app/web:2.0", `its label version is "1.0"`, missing)
	h.mustRefuse("another name", "appc:example.com/app/web:3.0", "calls itself example.com/app/other", missing)
	h.mustRefuse("no such version", "appc:example.com/app/web:4.0", "404", missing)
	h.mustRefuse("nothing there", "appc:example.com/none", "no page says where", missing)
	delete(s.files, "/images/example.com/app/web-latest.aci.asc")
	h.mustRefuse("signature gone", "appc:example.com/app/web", "not signed", s.reach(h, pod.PullAlways))
	s.Close()
	open("offline", "appc:example.com/app/web:1.0", missing)
	open("offline, the latest", "appc:example.com/app/web", never)
	if kept := h.kept(); len(kept) != 2 {
		t.Errorf("kept: %v", kept)
	}
	keys, err := h.keys.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := h.keys.Remove(string(k.Prefix), k.Fingerprint); err != nil {
			t.Fatal(err)
		}
	}
	h.mustRefuse("its key is not trusted any more", "appc:example.com/app/web:1.0", "not trusted", missing)
	// With the image go its files.
	if err := os.MkdirAll(h.store.DownloadsDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("store/v1/downloads/x.part", nil)
	if _, err := h.store.Prune(t.Context(), store.PruneOptions{All: true}); err != nil {
		t.Error(err)
	}
	if kept := h.kept(); len(kept) != 0 {
		t.Errorf("kept: %v", kept)
	}
	if _, err := os.Lstat(h.path("store/v1/downloads/x.part")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a download is left: %v", err)
	}
}

// kept lists the folders of images that the store keeps as distributed.
func (h *host) kept() []string {
	h.t.Helper()
	kept, err := filepath.Glob(h.path("store/v1/kept/*"))
	if err != nil {
		h.t.Fatal(err)
	}
	return kept
}
