// Package ref reads what a user may write for an image:
//
//	app.aci                                  a file
//	oci:DIR[:REF]                            an OCI image layout
//	oci-archive:FILE[:REF]                   one packed into a tar
//	docker-archive:FILE[:REF]                what docker save writes
//	docker://[HOST[:PORT]/]REPO[:TAG][@DIGEST]  a registry
//	appc:NAME[,LABEL=VALUE...]               an appc name, found by discovery
//
// The forms but the last are those of containers-transports(5). Parsing is pure: no
// file is looked at, so that a reference means the same everywhere.
package ref

import (
	"errors"
	"fmt"
	"strings"

	"github.com/clearrun/clearrun/image"
)

// Transport says what kind of place an image comes from.
type Transport string

// The transports, as references begin.
const (
	ACI           Transport = "aci" // never written: a reference without a transport
	OCI           Transport = "oci"
	OCIArchive    Transport = "oci-archive"
	DockerArchive Transport = "docker-archive"
	Docker        Transport = "docker"
	Appc          Transport = "appc"
)

// lengthMax bounds a reference in bytes: a path and something behind it.
const lengthMax = 4096 + 512

// Ref is a reference to an image. Which fields are set depends on the transport.
type Ref struct {
	Transport Transport
	// Path is the file or folder of all but Docker and Appc.
	Path string
	// Tag is the tag of Docker, never empty unless Digest is set; else the name of
	// the image inside an archive or a layout, which may be empty.
	Tag string
	// Digest is what Docker's manifest or index must have; zero: any.
	Digest image.Digest
	// Name is HOST[:PORT]/REPO of Docker, the name of Appc.
	Name image.Name
	// Labels are those that Appc asks for.
	Labels []image.NameValue
}

// Parse reads a reference.
func Parse(s string) (Ref, error) {
	r, err := parse(s)
	if err != nil {
		return Ref{}, fmt.Errorf("image reference %q: %w", clip(s), err)
	}
	return r, nil
}

func parse(s string) (Ref, error) {
	switch {
	case s == "":
		return Ref{}, errors.New("empty")
	case len(s) > lengthMax:
		return Ref{}, fmt.Errorf("longer than %d bytes", lengthMax)
	case strings.ContainsAny(s, "\x00\n"):
		return Ref{}, errors.New("NUL or line break in it")
	}
	transport, rest, found := strings.Cut(s, ":")
	if !found {
		return Ref{Transport: ACI, Path: s}, nil
	}
	switch t := Transport(transport); t {
	case OCI, OCIArchive, DockerArchive:
		return parseFile(t, rest)
	case Docker:
		rest, found = strings.CutPrefix(rest, "//")
		if !found {
			return Ref{}, errors.New("want docker://[HOST/]REPOSITORY[:TAG][@DIGEST]")
		}
		return parseDocker(rest)
	case Appc:
		return parseAppc(rest)
	}
	if strings.HasPrefix(rest, "//") {
		return Ref{}, fmt.Errorf("unknown transport %q (known: oci, oci-archive, docker-archive, docker, appc)", transport)
	}
	return Ref{Transport: ACI, Path: s}, nil
}

// parseFile reads PATH[:REF]. As in containers-transports(5), the path ends at the
// first colon.
func parseFile(t Transport, s string) (Ref, error) {
	path, tag, found := strings.Cut(s, ":")
	if path == "" {
		return Ref{}, fmt.Errorf("want %s:PATH[:REFERENCE]", t)
	}
	if found && tag == "" {
		return Ref{}, errors.New("nothing behind the last colon")
	}
	return Ref{Transport: t, Path: path, Tag: tag}, nil
}

// parseAppc reads NAME[,LABEL=VALUE...] (appc spec, discovery.md). A version may be
// written as NAME:VERSION, as rkt took it.
func parseAppc(s string) (Ref, error) {
	parts := strings.Split(s, ",")
	name, version, found := strings.Cut(parts[0], ":")
	r := Ref{Transport: Appc}
	var err error
	if r.Name, err = image.ParseName(name); err != nil {
		return Ref{}, err
	}
	labels := parts[1:]
	if found {
		labels = append([]string{"version=" + version}, labels...)
	}
	seen := map[string]bool{}
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		if key == "" || value == "" || seen[key] {
			return Ref{}, fmt.Errorf("label %q: want each as NAME=VALUE, and once", clip(l))
		}
		seen[key] = true
		r.Labels = append(r.Labels, image.NameValue{Name: key, Value: value})
	}
	return r, nil
}

// IsFile reports whether the image lies in a file or folder of this host.
func (r Ref) IsFile() bool { return r.Path != "" }

// String writes the reference in full; Parse reads it back.
func (r Ref) String() string {
	switch r.Transport {
	case ACI:
		return r.Path
	case OCI, OCIArchive, DockerArchive:
		s := string(r.Transport) + ":" + r.Path
		if r.Tag != "" {
			s += ":" + r.Tag
		}
		return s
	case Docker:
		return "docker://" + r.remote()
	case Appc:
		s := "appc:" + string(r.Name)
		for _, l := range r.Labels {
			s += "," + l.Name + "=" + l.Value
		}
		return s
	}
	return ""
}

// clip bounds a foreign string that goes into an error message.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
