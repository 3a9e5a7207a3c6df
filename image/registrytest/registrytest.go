// Package registrytest runs a real registry, Debian's docker-registry, on this host for
// tests, which fill it with skopeo. It is imported by tests alone.
package registrytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Registry is a registry that runs until the end of its test.
type Registry struct {
	Host string // 127.0.0.1:PORT
	CA   string // file with its authority's certificate; empty: it speaks no TLS

	t    testing.TB
	stop func()
}

// Stop ends the registry before the test does.
func (r *Registry) Stop() { r.stop() }

// Options say what the registry asks of its users.
type Options struct {
	TLS            bool
	User, Password string // empty: anyone may pull and push
}

// startTimeout is for a machine that is busy with other things.
const startTimeout = time.Minute

// Start starts a registry with nothing in it.
func Start(t testing.TB, o Options) *Registry {
	t.Helper()
	dir := t.TempDir()
	r := &Registry{Host: freePort(t), t: t}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp:\n  addr: %s\n",
		filepath.Join(dir, "data"), r.Host)
	if o.TLS {
		cert, key := certificate(t, dir)
		r.CA = cert
		config += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", cert, key)
	}
	if o.User != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(o.Password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		file := write(t, dir, "htpasswd", o.User+":"+string(hash)+"\n")
		config += fmt.Sprintf("auth:\n  htpasswd: {realm: test, path: %s}\n", file)
	}
	var log bytes.Buffer
	cmd := exec.Command(program(t), "serve", write(t, dir, "config.yml", config))
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also if the test is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r.stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		<-ended
	})
	t.Cleanup(r.stop)
	if err := r.wait(ended); err != nil {
		t.Fatalf("docker-registry: %v: %s", err, log.String())
	}
	return r
}

// program is the registry's executable: where hack/deps.sh puts it, or one that is
// installed.
func program(t testing.TB) string {
	t.Helper()
	const name = "docker-registry"
	_, here, _, _ := runtime.Caller(0)
	ours := filepath.Join(filepath.Dir(here), "../../build/tools", name)
	if _, err := os.Stat(ours); err == nil {
		return ours
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: run make deps", err)
	}
	return path
}

// wait returns once the registry answers.
func (r *Registry) wait(ended chan error) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	deadline := time.After(startTimeout)
	for {
		resp, err := client.Get(r.url("/v2/"))
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("ended: %w", err)
		case <-deadline:
			return errors.New("did not start")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *Registry) url(path string) string {
	if r.CA != "" {
		return "https://" + r.Host + path
	}
	return "http://" + r.Host + path
}

// Push copies what skopeo calls source to NAME:TAG in the registry.
func (r *Registry) Push(source, name string, flags ...string) {
	r.t.Helper()
	args := append([]string{"copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"}, flags...)
	args = append(args, source, "docker://"+r.Host+"/"+name)
	if out, err := exec.Command("skopeo", args...).CombinedOutput(); err != nil {
		r.t.Fatalf("skopeo %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate makes one that is its own authority.
func certificate(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clearrun test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile = write(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	return certFile, write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}
