package ref

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/clearrun/clearrun/image"
)

// What a reference without a host or a tag stands for, as docker reads it.
const (
	DefaultHost = "docker.io"
	DefaultTag  = "latest"

	officialRepo = "library/" // of one-word repositories on DefaultHost
)

// The grammar of the OCI distribution spec 1.1, section "Pulling manifests".
var (
	repository = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	})
	tag = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	})
)

// parseDocker reads [HOST[:PORT]/]REPO[:TAG][@DIGEST]. What stands before the first
// slash is a host if it has a dot or a colon, or is localhost.
func parseDocker(s string) (Ref, error) {
	r := Ref{Transport: Docker}
	s, digest, found := strings.Cut(s, "@")
	if found {
		var err error
		if r.Digest, err = parseDigest(digest); err != nil {
			return Ref{}, err
		}
	}
	s, err := r.cutTag(s)
	if err != nil {
		return Ref{}, err
	}
	host, repo := splitHost(s)
	if !repository().MatchString(repo) {
		return Ref{}, fmt.Errorf("repository %q: want lower-case letters and digits, single ._- or / between them", clip(repo))
	}
	if r.Name, err = image.ParseName(strings.ToLower(host) + "/" + repo); err != nil {
		return Ref{}, err
	}
	return r, nil
}

func parseDigest(s string) (image.Digest, error) {
	if !strings.Contains(s, ":") { // image.ParseDigest takes appc's form too
		return image.Digest{}, fmt.Errorf("digest %q: want sha256:<hex>", clip(s))
	}
	return image.ParseDigest(s)
}

// cutTag takes the tag off s. A colon before the last slash belongs to a port.
func (r *Ref) cutTag(s string) (string, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || i < strings.LastIndexByte(s, '/') {
		if r.Digest.IsZero() {
			r.Tag = DefaultTag
		}
		return s, nil
	}
	r.Tag = s[i+1:]
	if !tag().MatchString(r.Tag) {
		return "", errors.New("tag: want 1 to 128 of A-Z, a-z, 0-9 and ._-, none of .- first")
	}
	return s[:i], nil
}

func splitHost(s string) (host, repo string) {
	host, repo, found := strings.Cut(s, "/")
	if !found || host != "localhost" && !strings.ContainsAny(host, ".:") {
		host, repo = DefaultHost, s
	}
	if host == "index.docker.io" { // its other name
		host = DefaultHost
	}
	if host == DefaultHost && !strings.Contains(repo, "/") {
		repo = officialRepo + repo
	}
	return host, repo
}

// Host returns the registry of a Docker reference, with its port if it has one.
func (r Ref) Host() string {
	host, _, _ := strings.Cut(string(r.Name), "/")
	return host
}

// Repository returns the path below Host.
func (r Ref) Repository() string {
	_, repo, _ := strings.Cut(string(r.Name), "/")
	return repo
}

// remote is HOST/REPO[:TAG][@DIGEST].
func (r Ref) remote() string {
	s := string(r.Name)
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if !r.Digest.IsZero() {
		s += "@" + string(r.Digest.Algorithm()) + ":" + r.Digest.Hex()
	}
	return s
}

// ParseRemote reads the name that a layout or archive gives an image, such as
// docker.io/library/alpine:3.20. ok is false if it names no registry in full:
// a tag alone, or something short that one may complete in more than one way.
func ParseRemote(s string) (r Ref, ok bool) {
	host, _, found := strings.Cut(s, "/")
	if !found || host != "localhost" && !strings.ContainsAny(host, ".:") {
		return Ref{}, false
	}
	r, err := parseDocker(s)
	return r, err == nil && len(s) <= lengthMax
}
