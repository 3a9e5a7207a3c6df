// Package discovery finds App Container Images by their name, as the appc spec has it
// (v0.8.11, spec/discovery.md, Meta Discovery): a web page below the name says where
// images and signatures lie. It speaks HTTPS alone.
//
// What a page says is no more than a hint: whose image it is, its signature tells.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/clearrun/clearrun/image"
)

// Place is where an image may be fetched from.
type Place struct {
	Image, Signature string   // URLs
	Keys             []string // URLs of keys that its publisher names
}

// pageMax bounds a web page in bytes.
const pageMax = 1 << 20

// DefaultLabels completes what a user asks for: the newest image for this platform.
func DefaultLabels(asked []image.NameValue) []image.NameValue {
	labels := append([]image.NameValue(nil), asked...)
	for _, def := range []image.NameValue{{Name: "version", Value: "latest"}, {Name: "os", Value: "linux"}, {Name: "arch", Value: "amd64"}} {
		if _, ok := (image.Meta{Labels: labels}).Label(def.Name); !ok {
			labels = append(labels, def)
		}
	}
	return labels
}

// Find asks for the page of the name, then for those of its parents, until one names a
// place. Labels are as DefaultLabels gives them.
func Find(ctx context.Context, name image.Name, labels []image.NameValue, o Options) (place Place, err error) {
	err = o.walk(ctx, name, func(page string) (err error) {
		place, err = Parse(page, name, labels)
		return err
	})
	if err != nil {
		return Place{}, fmt.Errorf("discovery: no page says where %s lies: %w", name, err)
	}
	return place, nil
}

// FindKeys asks in the same way for the URLs of the keys that sign images of the name.
func FindKeys(ctx context.Context, name image.Name, o Options) (keys []string, err error) {
	err = o.walk(ctx, name, func(page string) error {
		if keys = scan(page, name, nil).Keys; len(keys) == 0 {
			return errors.New("has no ac-discovery-pubkeys tag for this name")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("discovery: no page offers keys of %s: %w", name, err)
	}
	return keys, nil
}

// walk reads the page of the name, then those of its parents, until use takes one.
func (o Options) walk(ctx context.Context, name image.Name, use func(page string) error) error {
	client, err := o.client()
	if err != nil {
		return err
	}
	var errs []error
	for at := string(name); ; {
		url := "https://" + at + "?ac-discovery=1"
		page, err := read(ctx, client, url)
		if err == nil {
			if err = use(page); err == nil {
				return nil
			}
			err = fmt.Errorf("%s: %w", url, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, err)
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return errors.Join(errs...)
		}
		at = at[:i]
	}
}

func read(ctx context.Context, c getter, url string) (string, error) {
	body, err := c.get(ctx, url)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, pageMax))
	if err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	return string(data), nil
}

var variable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\{[^}]*\}`)
})

// Parse reads the meta tags of a page. The first ac-discovery for the name whose
// template can be filled in counts.
func Parse(page string, name image.Name, labels []image.NameValue) (Place, error) {
	place := scan(page, name, labels)
	if place.Image == "" {
		return Place{}, errors.New("has no ac-discovery tag for this image")
	}
	return place, nil
}

func scan(page string, name image.Name, labels []image.NameValue) (place Place) {
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return place
		case html.StartTagToken, html.SelfClosingTagToken:
			if t := z.Token(); t.DataAtom == atom.Meta {
				place.add(t.Attr, name, labels)
			}
		}
	}
}

// add takes over what one meta tag says, if it is about the image.
func (p *Place) add(attributes []html.Attribute, name image.Name, labels []image.NameValue) {
	var kind, prefix, template string
	for _, a := range attributes {
		switch a.Key {
		case "name":
			kind = a.Val
		case "content":
			if f := strings.Fields(a.Val); len(f) == 2 {
				prefix, template = f[0], f[1]
			}
		}
	}
	if prefix == "" || !name.Within(image.Name(prefix)) {
		return
	}
	switch kind {
	case "ac-discovery":
		aci, ok1 := fill(template, name, labels, "aci")
		asc, ok2 := fill(template, name, labels, "aci.asc")
		if p.Image == "" && ok1 && ok2 && aci != asc {
			p.Image, p.Signature = aci, asc
		}
	case "ac-discovery-pubkeys":
		if isHTTPS(template) {
			p.Keys = append(p.Keys, template)
		}
	}
}

// fill makes a URL of a template. ok is false if a variable is left, or if it is not
// one of HTTPS.
func fill(template string, name image.Name, labels []image.NameValue, ext string) (u string, ok bool) {
	values := map[string]string{}
	for _, l := range labels {
		values["{"+l.Name+"}"] = url.PathEscape(l.Value)
	}
	values["{name}"], values["{ext}"] = string(name), ext
	u = variable().ReplaceAllStringFunc(template, func(v string) string {
		if value, known := values[v]; known {
			return value
		}
		return v
	})
	return u, !strings.ContainsAny(u, "{}") && isHTTPS(u)
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != ""
}
