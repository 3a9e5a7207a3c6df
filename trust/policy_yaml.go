package trust

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// PolicyFault is one thing that is wrong with a policy file, and where.
type PolicyFault struct {
	File         string
	Line, Column int // from 1; 0: about the file as a whole
	Message      string
}

func (f PolicyFault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
}

// PolicyFaults is all that is wrong with a policy file, in the file's order.
type PolicyFaults []PolicyFault

func (f PolicyFaults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// yamlReader reads YAML of a fixed shape and notes what does not fit. Anchors, aliases,
// tags and merge keys are not taken: a policy says what it means where it stands.
type yamlReader struct {
	file   string
	faults PolicyFaults
}

// fields are the keys that a mapping may hold, and what reads their values.
type fields map[string]func(ast.Node)

func (y *yamlReader) fault(n ast.Node, format string, args ...any) {
	f := PolicyFault{File: y.file, Message: fmt.Sprintf(format, args...)}
	f.Line, f.Column = position(n)
	y.faults = append(y.faults, f)
}

// position is where a node begins; that of a mapping is its first key.
func position(n ast.Node) (line, column int) {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		n = m.Values[0]
	}
	if v, ok := n.(*ast.MappingValueNode); ok {
		n = v.Key
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0, 0
	}
	p := n.GetToken().Position
	return p.Line, p.Column
}

// document returns the one document of the file; nil with a fault.
func (y *yamlReader) document(data []byte) ast.Node {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		f := PolicyFault{File: y.file, Message: err.Error()}
		var at yaml.Error
		if errors.As(err, &at) {
			f.Message = at.GetMessage()
			if t := at.GetToken(); t != nil && t.Position != nil {
				f.Line, f.Column = t.Position.Line, t.Position.Column
			}
		}
		y.faults = append(y.faults, f)
		return nil
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		y.fault(nil, "is empty: want rules")
		return nil
	}
	if len(file.Docs) > 1 {
		y.fault(file.Docs[1].Body, "a second document: a policy is one")
		return nil
	}
	return file.Docs[0].Body
}

// mapping hands each value to its field, and returns those that were read, as nodes
// whose position is the key.
func (y *yamlReader) mapping(n ast.Node, what string, known fields) map[string]ast.Node {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		y.fault(n, "%s: want fields, such as %s", what, slices.Sorted(maps.Keys(known))[0])
		return nil
	}
	keys := make(map[string]ast.Node)
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			y.fault(v, "%s: the name of a field is plain text", what)
			continue
		}
		read, ok := known[key.Value]
		switch {
		case !ok:
			y.fault(v, "%s: unknown field %q: want %s", what, key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case keys[key.Value] != nil:
			y.fault(v, "%s: field %q stands here twice", what, key.Value)
		case empty(v.Value):
			y.fault(v, "%s: field %q is empty", what, key.Value)
		default:
			keys[key.Value] = v
			read(v.Value)
		}
	}
	return keys
}

func empty(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// pairs reads a mapping of any keys to text.
func (y *yamlReader) pairs(n ast.Node, what string, read func(key, value string, at ast.Node)) {
	m, ok := n.(*ast.MappingNode)
	if !ok || len(m.Values) == 0 {
		y.fault(n, "%s: want names with values", what)
		return
	}
	for _, v := range m.Values {
		key, isText := scalar(v.Key)
		if !isText {
			y.fault(v, "%s: the name is not plain text", what)
			continue
		}
		if value, ok := y.text(v.Value, what+" "+key); ok {
			read(key, value, v)
		}
	}
}

// scalar gives the text of a scalar as it was written, also of one that YAML takes
// for a number: fingerprints and versions may look like one.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode:
		return n.GetToken().Value, true
	case *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func (y *yamlReader) text(n ast.Node, what string) (string, bool) {
	s, ok := scalar(n)
	if !ok || s == "" {
		y.fault(n, "%s: want text; true, null and the like need quotes", what)
		return "", false
	}
	return s, true
}

func (y *yamlReader) boolean(n ast.Node, what string) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		y.fault(n, "%s: want true or false", what)
		return false
	}
	return b.Value
}

// count reads a whole number from 1 to most.
func (y *yamlReader) count(n ast.Node, what string, most int) int {
	s, _ := scalar(n)
	i, err := strconv.Atoi(s)
	if err != nil || i < 1 || i > most {
		y.fault(n, "%s: want a number from 1 to %d", what, most)
		return 0
	}
	return i
}

// list reads a list of different texts.
func (y *yamlReader) list(n ast.Node, what string, read func(s string, at ast.Node)) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		y.fault(n, "%s: want a list, such as [a, b]", what)
		return
	}
	seen := make(map[string]bool)
	for _, v := range seq.Values {
		s, ok := y.text(v, what)
		if !ok {
			continue
		}
		if seen[s] {
			y.fault(v, "%s: %q stands here twice", what, s)
			continue
		}
		seen[s] = true
		read(s, v)
	}
}
