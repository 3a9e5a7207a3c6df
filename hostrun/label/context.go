package label

import (
	"errors"
	"fmt"
	"strings"
)

// Context is a label: user:role:type, and with MCS a level.
type Context struct{ User, Role, Type, Level string }

// ParseContext reads a label as policies and the kernel write it.
func ParseContext(s string) (Context, error) {
	parts := strings.SplitN(strings.TrimSuffix(s, "\x00"), ":", 4)
	if len(parts) < 3 {
		return Context{}, fmt.Errorf("label %.100q is not user:role:type:level", s)
	}
	for i, part := range parts {
		if err := checkPart(part, i == 3); err != nil {
			return Context{}, fmt.Errorf("label %.100q: %w", s, err)
		}
	}
	c := Context{User: parts[0], Role: parts[1], Type: parts[2]}
	if len(parts) == 4 {
		c.Level = parts[3]
	}
	return c, nil
}

// String is the label as the kernel takes it.
func (c Context) String() string {
	s := c.User + ":" + c.Role + ":" + c.Type
	if c.Level != "" {
		s += ":" + c.Level
	}
	return s
}

var errPart = errors.New("a part of a label is letters, digits and _ . -, and of a level : and , as well")

// maxPart bounds a part of a label; the kernel takes labels of up to a page.
const maxPart = 1000

// checkPart keeps out what would end a part, a mount's option or a line of a log.
func checkPart(s string, level bool) error {
	if s == "" || len(s) > maxPart {
		return errPart
	}
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.', r == '-':
		case level && (r == ':' || r == ','):
		default:
			return errPart
		}
	}
	return nil
}
