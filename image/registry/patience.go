package registry

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// How often, and how long, a registry in trouble is asked again.
const (
	triesMax  = 5
	firstWait = 250 * time.Millisecond
	waitMax   = 2 * time.Minute // longer, and the user should know
)

// patience is the retry policy of all requests, which are idempotent.
type patience struct {
	options Options
	host    string
}

// Retry says how long to wait before a request is sent again; negative: not at all.
func (p patience) Retry(attempt int, resp *http.Response, err error) (time.Duration, error) {
	if attempt >= triesMax || !transient(resp, err) {
		return -1, nil
	}
	wait := p.options.backoff(attempt)
	if resp != nil {
		asked, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now())
		switch {
		case ok && asked > waitMax:
			return -1, nil
		case ok:
			wait = asked
			p.options.notice("%s asks to wait for %v (%s)", p.host, wait.Round(time.Second), resp.Status)
		}
	}
	return wait, nil
}

// transient reports whether the same request may go well later.
func transient(resp *http.Response, err error) bool {
	if err != nil {
		var timeout net.Error
		return errors.As(err, &timeout) && timeout.Timeout() || broken(err)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// broken reports whether a connection ended in the midst of something.
func broken(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// backoff doubles with each attempt; a tenth is up to chance, so that many clients do
// not come back at once.
func (o Options) backoff(attempt int) time.Duration {
	wait := firstWait
	if o.firstWait > 0 {
		wait = o.firstWait
	}
	wait <<= attempt
	return wait + rand.N(wait/10)
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	const secondsMax = 1 << 31
	if n, err := strconv.ParseUint(header, 10, 64); err == nil {
		return time.Duration(min(n, secondsMax)) * time.Second, true
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}
