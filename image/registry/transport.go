package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/clearrun/clearrun/image/ref"
)

// Timeouts of single steps. A download as a whole may take as long as it moves.
const (
	dialTimeout   = 30 * time.Second
	headerTimeout = 60 * time.Second
	idleTimeout   = 60 * time.Second // without a byte of a body
)

// dialHost is the host that images of a registry really lie on.
func dialHost(host string) string {
	if host == ref.DefaultHost {
		return "registry-1.docker.io"
	}
	return host
}

// connect makes a client of the repository at e.
func (o Options) connect(ctx context.Context, e endpoint) (*remote.Repository, error) {
	base, err := newTransport(e)
	if err != nil {
		return nil, err
	}
	credential, err := o.credentialFunc(e)
	if err != nil {
		return nil, err
	}
	local := isLoopback(e.host)
	if local && !e.plainHTTP {
		if e.plainHTTP, err = speaksPlain(ctx, base, e.host); err != nil {
			return nil, err
		}
	}
	client := &auth.Client{
		Client: &http.Client{Transport: &retry.Transport{Base: base, Policy: func() retry.Policy { return patience{o, e.host} }}},
		Header: http.Header{"User-Agent": {o.UserAgent}},
		Cache:  auth.NewCache(), ClientID: "clearrun", Credential: credential,
	}
	if e.plainHTTP && !local {
		client.Credential = nil // a password is not for everyone on the way to read
	}
	if local {
		client.BlockedRealmPrefixes = []netip.Prefix{} // its token server may be local, too
	}
	return &remote.Repository{
		Client: client, PlainHTTP: e.plainHTTP, MaxMetadataBytes: o.Limits.Manifest,
		Reference: registry.Reference{Registry: e.host, Repository: e.repository},
	}, nil
}

func newTransport(e endpoint) (*http.Transport, error) {
	conf, err := tlsConfig(e)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   jobs,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // digests are of the bytes as they are
	}, nil
}

// isLoopback reports whether the host, with or without a port, is this one by its very
// name. What DNS says of others does not count.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// speaksPlain asks whether there is no TLS on a port of this host.
func speaksPlain(ctx context.Context, base http.RoundTripper, host string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/", nil)
	if err != nil {
		return false, err
	}
	resp, err := base.RoundTrip(req)
	if err == nil {
		return false, resp.Body.Close()
	}
	// What answers in HTTP breaks the TLS handshake in its first record.
	var record tls.RecordHeaderError
	if errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &record) {
		return true, nil
	}
	return false, err
}

// certDirs are docker's and podman's folders of certificates, one below for each host.
func certDirs() []string {
	dirs := []string{"/etc/docker/certs.d", "/etc/containers/certs.d"}
	if dir, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(dir, "containers/certs.d"))
	}
	return dirs
}

// tlsConfig trusts the system's authorities, that of the endpoint, and those that docker
// or podman would trust for it (containers-certs.d(5)).
func tlsConfig(e endpoint) (*tls.Config, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	conf := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	files := []string{}
	if e.caFile != "" {
		files = append(files, e.caFile)
	}
	for _, dir := range certDirs() {
		dir = filepath.Join(dir, e.host)
		authorities, _ := filepath.Glob(filepath.Join(dir, "*.crt"))
		files = append(files, authorities...)
		certs, _ := filepath.Glob(filepath.Join(dir, "*.cert"))
		for _, cert := range certs {
			pair, err := tls.LoadX509KeyPair(cert, strings.TrimSuffix(cert, ".cert")+".key")
			if err != nil {
				return nil, fmt.Errorf("certificate %s: %w", cert, err)
			}
			conf.Certificates = append(conf.Certificates, pair)
		}
	}
	for _, file := range files {
		if err := addCA(pool, file); err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
	}
	return conf, nil
}

// certMax bounds a file of certificates in bytes.
const certMax = 4 << 20

func addCA(pool *x509.CertPool, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, certMax))
	if err != nil {
		return err
	}
	if !pool.AppendCertsFromPEM(data) {
		return fmt.Errorf("%s: no certificate in PEM", file)
	}
	return nil
}
