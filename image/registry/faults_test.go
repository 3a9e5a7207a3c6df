package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image/ocitest"
	"github.com/clearrun/clearrun/image/registry"
	"github.com/clearrun/clearrun/image/registrytest"
)

// proxy stands between clearrun and a real registry, and makes trouble with blobs.
type proxy struct {
	*httptest.Server
	// trouble returns true if it has dealt with the request itself.
	trouble func(w http.ResponseWriter, r *http.Request, next http.Handler) bool

	mu     sync.Mutex
	ranges []string // asked for, in order
}

func newProxy(t *testing.T, r *registrytest.Registry) *proxy {
	t.Helper()
	next := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Host})
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		p.mu.Lock()
		trouble := p.trouble
		p.mu.Unlock()
		if strings.Contains(req.URL.Path, "/blobs/") && trouble != nil && trouble(w, req, next) {
			return
		}
		next.ServeHTTP(w, req)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) reference(name string) string {
	return "docker://" + strings.TrimPrefix(p.URL, "http://") + "/" + name
}

// makeTrouble sets trouble; requests of earlier pulls may still run.
func (p *proxy) makeTrouble(f func(w http.ResponseWriter, r *http.Request, next http.Handler) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = f
}

// note keeps what part of a blob a request asks for.
func (p *proxy) note(r *http.Request) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ranges = append(p.ranges, r.Header.Get("Range"))
	return len(p.ranges) == 1
}

// cutting sends only the first n bytes of an answer and breaks the connection.
func cutting(n int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes()[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// isLayer tells layers from the config, which is small.
func isLayer(l *ocitest.Layout, r *http.Request) bool {
	info, err := os.Stat(filepath.Join(l.Dir, "blobs/sha256", r.URL.Path[strings.LastIndexByte(r.URL.Path, ':')+1:]))
	return err == nil && info.Size() > 10_000
}

// setup starts a registry with an image, and a proxy before it.
func setup(t *testing.T) (*ocitest.Layout, v1.Descriptor, *proxy) {
	t.Helper()
	l, d := layout(t)
	r := registrytest.Start(t, registrytest.Options{})
	r.Push("oci:"+l.Dir+":v1", "app:v1", "--preserve-digests")
	return l, d, newProxy(t, r)
}

func TestBrokenConnection(t *testing.T) {
	l, d, p := setup(t)
	once := map[string]bool{}
	p.makeTrouble(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if !isLayer(l, r) {
			return false
		}
		p.note(r)
		p.mu.Lock()
		seen := once[r.URL.Path]
		once[r.URL.Path] = true
		p.mu.Unlock()
		if !seen {
			cutting(100_000)(w, r, next)
		}
		return false
	})
	img, err := pull(t, p.reference("app:v1"), options(t))
	checkImage(t, "each layer broke off once", img, err, d)
	resumed := 0
	for _, r := range p.ranges {
		if r == "bytes=100000-" {
			resumed++
		}
	}
	if resumed != 6 || len(p.ranges) != 12 {
		t.Errorf("asked for %q", p.ranges)
	}
}

// TestMirrorLosesLayers: what a mirror has lost, damaged or breaks off comes from the registry.
func TestMirrorLosesLayers(t *testing.T) {
	l, d := layout(t)
	r := registrytest.Start(t, registrytest.Options{})
	r.Push("oci:"+l.Dir+":v1", "app:v1", "--preserve-digests")
	mirror := newProxy(t, r)
	asked := 0
	mirror.makeTrouble(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
		if !isLayer(l, req) {
			return false
		}
		mirror.mu.Lock()
		asked++
		n := asked
		mirror.mu.Unlock()
		switch n {
		case 1:
			http.NotFound(w, req)
		case 2:
			w.Write(make([]byte, 400_000))
		default:
			cutting(100_000)(w, req, next)
		}
		return true
	})
	o := options(t)
	var notices []string
	var mu sync.Mutex
	o.Notice = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, text)
	}
	rules := "registries:\n- prefix: " + r.Host + "\n  mirrorsOnly: %v\n  mirrors: [{location: " + strings.TrimPrefix(mirror.URL, "http://") + "}]\n"
	var err error
	if o.Mirrors, err = registry.ParseMirrors(fmt.Appendf(nil, rules, false)); err != nil {
		t.Fatal(err)
	}
	img, err := pull(t, "docker://"+r.Host+"/app:v1", o)
	checkImage(t, "from both", img, err, d)
	turns := 0
	for _, text := range notices {
		if strings.Contains(text, "asking "+r.Host+"/app") {
			turns++
		}
	}
	if turns != 6 {
		t.Errorf("turned to the registry %d times, want 6:\n%s", turns, strings.Join(notices, "\n"))
	}
	o = options(t)
	if o.Mirrors, err = registry.ParseMirrors(fmt.Appendf(nil, rules, true)); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(t, "docker://"+r.Host+"/app:v1", o); err == nil {
		t.Error("the registry was asked although the mirrors only may be")
	}
}

func TestEndlessTrouble(t *testing.T) {
	l, _, p := setup(t)
	p.makeTrouble(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if isLayer(l, r) {
			cutting(0)(w, r, next)
		}
		return false
	})
	o := options(t)
	if _, err := pull(t, p.reference("app:v1"), o); err == nil || !strings.Contains(err.Error(), "EOF") {
		t.Errorf("got %v", err)
	}
	if len(cached(t, o)) == 0 {
		t.Error("the partial files are gone")
	}
}

func TestResume(t *testing.T) {
	l, d, p := setup(t)
	p.makeTrouble(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if isLayer(l, r) {
			p.note(r)
		}
		return false
	})
	blobs, err := filepath.Glob(filepath.Join(l.Dir, "blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		part func(blob []byte) []byte
		want []string // parts asked for, each by all six layers; nil: none
	}{
		{"half", func(b []byte) []byte { return b[:len(b)/2] }, []string{"bytes=150784-"}},
		{"all", func(b []byte) []byte { return b }, nil},
		{"too much", func(b []byte) []byte { return append(bytes.Clone(b), 0) }, []string{""}},
		{"other bytes", func(b []byte) []byte { return make([]byte, len(b)/2) }, []string{"bytes=150784-", ""}},
	} {
		o := options(t)
		if err := os.MkdirAll(o.CacheDir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range blobs {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(o.CacheDir, "sha256-"+filepath.Base(name)+".part"), tc.part(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p.ranges = nil
		img, err := pull(t, p.reference("app:v1"), o)
		checkImage(t, tc.name, img, err, d)
		count := map[string]int{}
		for _, r := range p.ranges {
			count[r]++
		}
		if len(count) != len(tc.want) {
			t.Errorf("%s: asked for %v", tc.name, count)
		}
		for _, r := range tc.want {
			if count[r] != 6 {
				t.Errorf("%s: asked for %v, want %q", tc.name, count, tc.want)
			}
		}
	}
}

// TestNoRanges has a server that always sends the whole.
func TestNoRanges(t *testing.T) {
	l, d, p := setup(t)
	var mu sync.Mutex
	once := map[string]bool{}
	p.makeTrouble(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		r.Header.Del("Range")
		mu.Lock()
		seen := once[r.URL.Path]
		once[r.URL.Path] = true
		mu.Unlock()
		if isLayer(l, r) && !seen {
			cutting(1000)(w, r, next)
		}
		return false
	})
	img, err := pull(t, p.reference("app:v1"), options(t))
	checkImage(t, "no ranges", img, err, d)
}

func TestRateLimit(t *testing.T) {
	_, d, p := setup(t)
	var notices []string
	o := options(t)
	o.Notice = func(text string) { p.mu.Lock(); notices = append(notices, text); p.mu.Unlock() }
	p.makeTrouble(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !p.note(r) {
			return false
		}
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	img, err := pull(t, p.reference("app:v1"), o)
	checkImage(t, "asked to wait once", img, err, d)
	if len(notices) != 1 || !strings.Contains(notices[0], "asks to wait for 0s") {
		t.Errorf("notices %q", notices)
	}
	p.makeTrouble(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		w.Header().Set("Retry-After", "21600") // as Docker Hub has it
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	if _, err := pull(t, p.reference("app:v1"), options(t)); err == nil || !strings.Contains(err.Error(), "asked too often") {
		t.Errorf("six hours: %v", err)
	}
}

// TestLies has a registry, or someone on the way, that sends other bytes.
func TestLies(t *testing.T) {
	l, _, p := setup(t)
	lie := func(change func([]byte) []byte) func(http.ResponseWriter, *http.Request, http.Handler) bool {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
			if !isLayer(l, r) {
				return false
			}
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			io.Copy(w, bytes.NewReader(change(answer.Body.Bytes())))
			return true
		}
	}
	for name, tc := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"changed": {func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "another one"},
		"missing": {func(b []byte) []byte { return b[:max(len(b)-1, 0)] }, "EOF"},
	} {
		p.makeTrouble(lie(tc.change))
		if _, err := pull(t, p.reference("app:v1"), options(t)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	// More than is due is not even read.
	p.makeTrouble(lie(func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }))
	if _, err := pull(t, p.reference("app:v1"), options(t)); err != nil {
		t.Errorf("more: %v", err)
	}
}

func TestMirrorsFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"registries: []":              "",
		"registries: [{prefix: a.b}]": "",
		"registry: []":                "unknown field",
		"registries: [{prefix: ''}]":  "empty",
		"registries: [{prefix: A}]":   "a-z",
		"registries: [{prefix: a, mirrors: [{location: ''}]}]":             "empty",
		"registries: [{prefix: a, mirrors: [{location: b, ca: x.pem}]}]":   "not an absolute path",
		"registries: [{prefix: a, ca: x.pem}]":                             "not an absolute path",
		"registries: [{prefix: a}, {prefix: a}]":                           "twice",
		"registries: [{prefix: a, mirrors: [{location: b, insecure: 1}]}]": "unknown field",
	} {
		_, err := registry.ParseMirrors([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzMirrors(f *testing.F) {
	f.Add([]byte("registries: [{prefix: a, mirrorsOnly: true, plainHTTP: true, mirrors: [{location: b, ca: /x.pem}]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := registry.ParseMirrors(data)
		if err != nil {
			return
		}
		for _, r := range m.Registries {
			if r.Prefix == "" {
				t.Error("a rule for everything")
			}
		}
	})
}
