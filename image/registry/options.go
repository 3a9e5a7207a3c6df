package registry

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/ref"
)

// Options say how to speak to registries.
type Options struct {
	// CacheDir is where layers are downloaded to. It is made if need be.
	CacheDir string
	// CAFile has certificates of authorities to trust besides the system's (PEM).
	CAFile string
	// PlainHTTP asks for HTTP without TLS. A registry on this host gets it by itself if
	// it speaks no TLS.
	PlainHTTP bool
	// AuthFile has the credentials; empty: those of podman and docker.
	AuthFile string
	// Mirrors may stand in for registries.
	Mirrors Mirrors
	// Limits bound what is downloaded. Zero: image.DefaultLimits.
	Limits image.Limits
	// UserAgent is what registries are told.
	UserAgent string
	// Progress, if set, is told what was downloaded so far; from one goroutine at a time.
	Progress func(Progress)
	// Notice, if set, is told what a user who waits wants to know.
	Notice func(text string)

	firstWait time.Duration // of a retry; each next one is twice as long. Zero: firstWait
}

// Progress says how far a download is, in bytes of compressed layers.
type Progress struct {
	Done, Total int64
	Layers      int
}

func (o Options) notice(format string, args ...any) {
	if o.Notice != nil {
		o.Notice(fmt.Sprintf(format, args...))
	}
}

// endpoint is one place that may have the image: a mirror, or the registry itself.
type endpoint struct {
	host, repository string
	plainHTTP        bool
	caFile           string
}

func (e endpoint) String() string { return e.host + "/" + e.repository }

// endpoints lists where to ask for an image, in order.
func (o Options) endpoints(name image.Name) ([]endpoint, error) {
	origin := endpoint{plainHTTP: o.PlainHTTP, caFile: o.CAFile}
	origin.host, origin.repository, _ = strings.Cut(string(name), "/")
	rule := o.Mirrors.rule(name)
	if rule == nil {
		return []endpoint{origin}, nil
	}
	origin.plainHTTP = origin.plainHTTP || rule.PlainHTTP
	if rule.CA != "" {
		origin.caFile = rule.CA
	}
	var list []endpoint
	below := strings.TrimPrefix(strings.TrimPrefix(string(name), string(rule.Prefix)), "/")
	for _, m := range rule.Mirrors {
		e := endpoint{plainHTTP: m.PlainHTTP, caFile: m.CA}
		where := string(m.Location) + "/" + below
		e.host, e.repository, _ = strings.Cut(strings.TrimSuffix(where, "/"), "/")
		if e.repository == "" {
			return nil, fmt.Errorf("registries: the mirror %s of %s names no repository", m.Location, rule.Prefix)
		}
		list = append(list, e)
	}
	if rule.MirrorsOnly {
		if len(list) == 0 {
			return nil, fmt.Errorf("registries: %s is blocked: it is mirrorsOnly, and has no mirror", rule.Prefix)
		}
		return list, nil
	}
	return append(list, origin), nil
}

var errNoTag = errors.New("names neither a tag nor a digest")

// wanted is the tag or digest that a reference asks for: the digest, if it has both.
func wanted(r ref.Ref) (string, error) {
	switch {
	case r.Transport != ref.Docker:
		return "", fmt.Errorf("%s is not in a registry", r)
	case !r.Digest.IsZero():
		return string(r.Digest.Algorithm()) + ":" + r.Digest.Hex(), nil
	case r.Tag != "":
		return r.Tag, nil
	}
	return "", errNoTag
}
