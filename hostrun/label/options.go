package label

import (
	"errors"
	"fmt"
	"strings"
)

// Options are the user's wishes (--security-opt label=...). The zero value has none.
type Options struct {
	User, Role, Type, Level, FileType string
	Disable                           bool
}

// Parse reads the values of --security-opt, in docker's words: label=type:T, label=level:L,
// label=user:U, label=role:R, label=filetype:T and label=disable. Later ones win.
func Parse(values []string) (o Options, err error) {
	for _, v := range values {
		if err := o.add(v); err != nil {
			return Options{}, fmt.Errorf("--security-opt %.200q: %w", v, err)
		}
	}
	if o.Disable && o != (Options{Disable: true}) {
		return Options{}, errors.New("--security-opt label=disable contradicts the other label options")
	}
	return o, nil
}

var errOption = errors.New("want label=type:TYPE, label=level:LEVEL, label=user:USER, label=role:ROLE, label=filetype:TYPE or label=disable")

func (o *Options) add(value string) error {
	what, ok := strings.CutPrefix(value, "label=")
	if !ok {
		return errOption
	}
	if what == "disable" {
		o.Disable = true
		return nil
	}
	key, part, _ := strings.Cut(what, ":")
	field := map[string]*string{"type": &o.Type, "level": &o.Level, "user": &o.User, "role": &o.Role, "filetype": &o.FileType}[key]
	if field == nil {
		return errOption
	}
	if err := checkPart(part, key == "level"); err != nil {
		return err
	}
	*field = part
	return nil
}

// weaker reports what of the options could take away from the separation that the default
// labels give; "" if nothing does.
func (o Options) weaker() string {
	switch {
	case o.Disable:
		return "label=disable"
	case o.Type != "":
		return "label=type:" + o.Type
	case o.FileType != "":
		return "label=filetype:" + o.FileType
	case o.User != "":
		return "label=user:" + o.User
	case o.Role != "":
		return "label=role:" + o.Role
	case o.Level != "":
		if _, ok := parsePair(o.Level); !ok {
			return "label=level:" + o.Level
		}
	}
	return ""
}

// CheckRequired says which of the options a policy that demands SELinux does not allow.
func (o Options) CheckRequired() error {
	if w := o.weaker(); w != "" {
		return fmt.Errorf("--security-opt %s is not allowed: the policy demands SELinux with the host's own types and a pair of categories; leave it out", w)
	}
	return nil
}
