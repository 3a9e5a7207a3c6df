package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrustFetch gets keys from a web site with TLS on this host.
func TestTrustFetch(t *testing.T) {
	path, fpr := keyFile(t)
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/key": string(key), "/junk": "no key"}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(text))
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "https://")
	files["/team"] = `<meta name="ac-discovery-pubkeys" content="` + host + `/team ` + s.URL + `/key">` +
		`<meta name="ac-discovery-pubkeys" content="` + host + `/team ` + s.URL + `/junk">`
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	fetch := func(args ...string) (int, string) {
		return output(t, append([]string{"--config-dir", dir, "trust", "fetch"}, args...)...)
	}
	name := host + "/team/app"
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{name}, 125, "certificate"},
		{[]string{"--tls-ca", ca, name}, 125, "nobody can check the fingerprint"},
		{[]string{"--tls-ca", ca, "--fingerprint", strings.Repeat("A", len(fpr)), name}, 125, "holds key " + fpr},
		{[]string{"--tls-ca", ca, "--yes", name}, 125, "unknown flag"},
		{[]string{"--tls-ca", ca, "--fingerprint", fpr, host + "/other"}, 125, "404"},
		{[]string{"--tls-ca", ca, "--fingerprint", fpr, name}, 0, "trusted for " + name + ": " + fpr},
		{[]string{"--tls-ca", ca, "--fingerprint", fpr, "--prefix", host + "/team", name}, 0, "trusted for " + host + "/team: " + fpr},
	} {
		code, out := fetch(tc.args...)
		if code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("%q: %d, %s; want %d, %s", tc.args, code, out, tc.code, tc.want)
		}
		kept, err := filepath.Glob(dir + "/trust.d/prefix.d/*/*")
		if err != nil || code != 0 && len(kept) > 0 {
			t.Errorf("%q: trusted %v, %v", tc.args, kept, err)
		}
	}
}
