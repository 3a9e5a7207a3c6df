package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// Options say how to speak to web servers.
type Options struct {
	// CAFile has certificates of authorities to trust besides the system's (PEM).
	CAFile    string
	UserAgent string
	// Dial connects; nil: as usual. Names and certificates are checked in any case.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Timeouts of single steps. A download may take as long as it moves.
const (
	stepTimeout = 30 * time.Second
	idleTimeout = 60 * time.Second // without a byte of a body
)

// getter fetches URLs.
type getter struct {
	http      *http.Client
	userAgent string
}

func (o Options) client() (getter, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if o.CAFile != "" {
		data, err := os.ReadFile(o.CAFile)
		if err != nil {
			return getter{}, fmt.Errorf("certificate authority: %w", err)
		}
		if !pool.AppendCertsFromPEM(data) {
			return getter{}, fmt.Errorf("certificate authority: %s: no certificate in PEM", o.CAFile)
		}
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: stepTimeout}).DialContext
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial, TLSHandshakeTimeout: stepTimeout,
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ResponseHeaderTimeout: stepTimeout, IdleConnTimeout: idleTimeout, DisableCompression: true,
	}
	return getter{&http.Client{Transport: transport, CheckRedirect: onlyHTTPS}, o.UserAgent}, nil
}

const redirectsMax = 10

// onlyHTTPS keeps redirects from leading out of TLS.
func onlyHTTPS(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= redirectsMax:
		return fmt.Errorf("more than %d redirects", redirectsMax)
	case req.URL.Scheme != "https":
		return fmt.Errorf("redirects to %s, which is not HTTPS", req.URL.Redacted())
	}
	return nil
}

func (g getter) get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", g.userAgent)
	resp, err := g.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s: %s", url, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// Fetch writes what lies at a URL to w, at most limit bytes.
func Fetch(ctx context.Context, url string, w io.Writer, limit int64, o Options) error {
	client, err := o.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := client.get(ctx, url)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer body.Close()
	idle := time.AfterFunc(idleTimeout, func() { cancel(errIdle) })
	defer idle.Stop()
	n, err := io.Copy(w, io.LimitReader(touchingReader{body, idle}, limit+1))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", url, errors.Join(err, context.Cause(ctx)))
	}
	if n > limit {
		return fmt.Errorf("fetch %s: more than %d bytes", url, limit)
	}
	return nil
}

var errIdle = errors.New("nothing came for a minute")

// touchingReader winds the timer up again with each read.
type touchingReader struct {
	r     io.Reader
	timer *time.Timer
}

func (t touchingReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.timer.Reset(idleTimeout)
	return n, err
}
