package image

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// nameMax bounds a name in bytes, so that it fits file names and log lines.
const nameMax = 255

// Name is an image's name, such as example.com/app or localhost:5000/app: an AC
// identifier of the appc spec (Types, AC Identifier Type), or an OCI registry, with its
// port if it has one, and a repository in it, without a tag.
type Name string

// ParseName checks a name. Besides the specs' alphabets and edges it asks that the
// parts between slashes are not empty, "." or "..": trust is granted by those
// parts, so none may be read in two ways. Only the first can have a port.
func ParseName(s string) (Name, error) {
	if s == "" {
		return "", errors.New("image name: empty")
	}
	if len(s) > nameMax {
		return "", fmt.Errorf("image name %q: longer than %d bytes", clip(s), nameMax)
	}
	host, path, nested := strings.Cut(s, "/")
	host, port, hasPort := strings.Cut(host, ":")
	if hasPort && !isPort(port) {
		return "", fmt.Errorf("image name %q: port %q is not a number from 1 to 65535", s, port)
	}
	letters := host
	if nested {
		letters += "/" + path
	}
	for _, c := range []byte(letters) {
		if !isAlnum(c) && !strings.ContainsRune("-._~/", rune(c)) {
			return "", fmt.Errorf("image name %q: only a-z, 0-9 and -._~/ are allowed", s)
		}
	}
	if !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return "", fmt.Errorf("image name %q: must begin and end with a-z or 0-9", s)
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("image name %q: path component %q is not allowed", s, part)
		}
	}
	return Name(s), nil
}

// Base returns the last component: "app" of example.com/app.
func (n Name) Base() string {
	return string(n[strings.LastIndexByte(string(n), '/')+1:])
}

// Within reports whether n is prefix or lies below it, by whole components:
// example.com/app/x is within example.com/app, example.com/apple is not. Every
// name is within the empty prefix.
func (n Name) Within(prefix Name) bool {
	return prefix == "" || n == prefix || strings.HasPrefix(string(n), string(prefix)+"/")
}

// UnmarshalText is ParseName.
func (n *Name) UnmarshalText(text []byte) error {
	parsed, err := ParseName(string(text))
	if err != nil {
		return err
	}
	*n = parsed
	return nil
}

// isPort reports whether s is a TCP port in its shortest form.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
}
