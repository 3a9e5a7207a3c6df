package trust

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"
	"github.com/goccy/go-yaml/ast"

	"github.com/clearrun/clearrun/image"
)

// Vocabulary knows the words of a policy that are about the app and not about trust:
// the names of capabilities, and sizes such as 512M.
type Vocabulary struct {
	Capability func(name string) error
	Size       func(s string) (bytes uint64, err error)
}

// Bounds on a policy file. Its parser recurses, so that depth is bounded by size.
const (
	policyMax  = 64 << 10 // bytes
	signersMax = 64       // as many as there may be signatures
	cpusMax    = 1 << 10
	daysMax    = 36500
)

// ParsePolicy reads a policy file; source is its name, for messages. The error is a
// PolicyFaults with all that is wrong: what is unknown, what contradicts itself, and
// rules that can never be reached.
func ParsePolicy(source string, data []byte, words Vocabulary) (*Policy, error) {
	r := &policyReader{yamlReader: yamlReader{file: source}, words: words}
	if len(data) > policyMax {
		return nil, PolicyFaults{{File: source, Message: fmt.Sprintf("longer than %d bytes", policyMax)}}
	}
	if doc := r.document(data); doc != nil {
		r.mapping(doc, "policy", fields{"rules": r.readRules, "measurement": r.readMeasurement})
		if len(r.rules) == 0 && len(r.faults) == 0 {
			r.fault(doc, "policy: has no rules, and so would refuse every image")
		}
	}
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b PolicyFault) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, r.faults
	}
	return &Policy{source: source, rules: r.rules, measurement: r.measurement}, nil
}

// policyReader turns YAML into rules.
type policyReader struct {
	yamlReader
	words       Vocabulary
	rules       []rule
	measurement MeasurementPolicy
}

// draft is a rule while it is read: what is given at all, and where.
type draft struct {
	rule
	minTier Tier
	at      map[string]ast.Node // the rule's fields
	matchAt map[string]ast.Node // those of its match
	require map[string]ast.Node // of its requirement
	allow   map[string]ast.Node // of what it allows
}

func (p *policyReader) readRules(n ast.Node) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		p.fault(n, "rules: want a list")
		return
	}
	for _, v := range seq.Values {
		before := len(p.faults)
		d := p.readRule(v)
		if len(p.faults) > before {
			continue // more faults would only follow from these
		}
		p.checkRule(v, d)
		p.checkReach(v, d.rule)
		p.rules = append(p.rules, d.rule)
	}
}

func (p *policyReader) readRule(n ast.Node) *draft {
	d := &draft{}
	d.line, _ = position(n)
	d.at = p.mapping(n, "rule", fields{
		"name":    func(n ast.Node) { d.name, _ = p.text(n, "name") },
		"match":   func(n ast.Node) { d.matchAt = p.readMatch(n, &d.match) },
		"deny":    func(n ast.Node) { d.deny = p.boolean(n, "deny") },
		"require": func(n ast.Node) { d.require = p.readRequire(n, &d.rule) },
		"tiers":   func(n ast.Node) { p.readTiers(n, &d.tiers) },
		"minTier": func(n ast.Node) { d.minTier = p.tier(n, "minTier") },
		"allow":   func(n ast.Node) { d.allow = p.readAllow(n, &d.rule) },
	})
	return d
}

func (p *policyReader) readMatch(n ast.Node, m *match) map[string]ast.Node {
	return p.mapping(n, "match", fields{
		"name": func(n ast.Node) {
			s, ok := p.text(n, "name")
			if !ok {
				return
			}
			var err error
			if m.name, err = parsePattern(s); err != nil {
				p.fault(n, "%v", err)
			}
		},
		"registry": func(n ast.Node) {
			s, ok := p.text(n, "registry")
			if !ok {
				return
			}
			var err error
			if m.registry, err = parseRegistryPattern(s); err != nil {
				p.fault(n, "%v", err)
			}
		},
		"digest": func(n ast.Node) {
			s, ok := p.text(n, "digest")
			if !ok {
				return
			}
			var err error
			if m.digest, err = image.ParseDigest(s); err != nil {
				p.fault(n, "%v", err)
			}
		},
		"labels": func(n ast.Node) {
			p.pairs(n, "labels", func(key, value string, _ ast.Node) {
				m.labels = append(m.labels, image.NameValue{Name: key, Value: value})
			})
		},
	})
}

// Words that stand for all keys that are trusted for the image's name: by anybody, or by
// the system or the vendor.
const (
	keyringWord = "keyring"
	systemWord  = "system"
)

func (p *policyReader) readRequire(n ast.Node, r *rule) map[string]ast.Node {
	q := &r.require
	return p.mapping(n, "require", fields{
		"none":    func(n ast.Node) { q.none = p.boolean(n, "none") },
		"signers": func(n ast.Node) { p.readSigners(n, q) },
		"atLeast": func(n ast.Node) { q.atLeast = p.count(n, "atLeast", signersMax) },
		"annotations": func(n ast.Node) {
			p.pairs(n, "annotations", func(key, value string, _ ast.Node) {
				q.annotations = append(q.annotations, image.NameValue{Name: key, Value: value})
			})
		},
		"minVersion": func(n ast.Node) {
			s, ok := p.text(n, "minVersion")
			if !ok {
				return
			}
			var err error
			if q.minVersion, err = semver.NewVersion(s); err != nil {
				p.fault(n, "minVersion: %q is not a version such as 1.2.3 (semver.org)", s)
			}
		},
		"selinux": func(n ast.Node) { r.limits.SELinux = p.boolean(n, "selinux") },
		"notOlderThan": func(n ast.Node) {
			s, ok := p.text(n, "notOlderThan")
			if !ok {
				return
			}
			if q.fresh, ok = parseFreshness(s); !ok {
				p.fault(n, "notOlderThan: %q: want a date such as 2026-01-31, or days such as 90d", s)
			}
		},
	})
}

func (p *policyReader) readSigners(n ast.Node, q *requirement) {
	if s, ok := scalar(n); ok {
		if q.system = s == systemWord; s != keyringWord && !q.system {
			p.fault(n, "signers: want %q, %q or a list of fingerprints", keyringWord, systemWord)
		}
		return
	}
	q.signers = []string{}
	p.list(n, "signers", func(s string, at ast.Node) {
		s, err := ParseFingerprint(s)
		if err != nil {
			p.fault(at, "signers: %v", err)
			return
		}
		if slices.Contains(q.signers, s) {
			p.fault(at, "signers: %s stands here twice", s)
			return
		}
		q.signers = append(q.signers, s)
	})
	if len(q.signers) == 0 {
		p.fault(n, "signers: the list is empty: nobody could sign")
	}
}

func parseFreshness(s string) (freshness, bool) {
	if number, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.Atoi(number)
		return freshness{days: days}, err == nil && days > 0 && days <= daysMax
	}
	since, err := time.Parse(time.DateOnly, s)
	return freshness{since: since}, err == nil && !since.IsZero()
}

func (p *policyReader) tier(n ast.Node, what string) Tier {
	s, ok := p.text(n, what)
	if !ok {
		return 0
	}
	t, err := ParseTier(s)
	if err != nil {
		p.fault(n, "%s: %v", what, err)
	}
	return t
}

func (p *policyReader) readTiers(n ast.Node, tiers *[]Tier) {
	p.list(n, "tiers", func(_ string, at ast.Node) { *tiers = append(*tiers, p.tier(at, "tiers")) })
	if len(*tiers) == 0 {
		p.fault(n, "tiers: the list is empty: to refuse the image, say deny: true")
	}
	slices.Sort(*tiers)
}

func (p *policyReader) readAllow(n ast.Node, r *rule) map[string]ast.Node {
	return p.mapping(n, "allow", fields{
		"insecure":  func(n ast.Node) { r.insecure = p.boolean(n, "insecure") },
		"plainHTTP": func(n ast.Node) { r.plainHTTP = p.boolean(n, "plainHTTP") },
		"capabilities": func(n ast.Node) {
			r.limits.Capabilities = []string{}
			p.list(n, "capabilities", func(s string, at ast.Node) {
				if err := p.words.Capability(s); err != nil {
					p.fault(at, "capabilities: %v", err)
				}
				r.limits.Capabilities = append(r.limits.Capabilities, s)
			})
		},
		"maxMemory": func(n ast.Node) {
			s, ok := p.text(n, "maxMemory")
			if !ok {
				return
			}
			var err error
			if r.limits.MemoryBytes, err = p.words.Size(s); err != nil {
				p.fault(n, "maxMemory: %v", err)
			} else if r.limits.MemoryBytes == 0 {
				p.fault(n, "maxMemory: nothing runs without memory")
			}
		},
		"maxCPUs":  func(n ast.Node) { r.limits.CPUs = p.count(n, "maxCPUs", cpusMax) },
		"networks": func(n ast.Node) { p.readNetworks(n, &r.limits) },
		"ports":    func(n ast.Node) { p.readPorts(n, &r.limits) },
		"volumes":  func(n ast.Node) { p.readVolumes(n, &r.limits) },
	})
}

func (p *policyReader) readNetworks(n ast.Node, l *Limits) {
	p.list(n, "networks", func(s string, at ast.Node) {
		if err := CheckNetwork(s); err != nil {
			p.fault(at, "networks: %v", err)
		}
		l.Networks = append(l.Networks, s)
	})
	if len(l.Networks) == 0 {
		p.fault(n, "networks: the list is empty: to allow loopback alone, say [none]")
	}
}

// readVolumes takes no folder that another one allows already: whoever writes /srv:rw and
// /srv/keys:ro would be mistaken about the latter.
func (p *policyReader) readVolumes(n ast.Node, l *Limits) {
	var places []ast.Node
	l.Volumes = []VolumeRule{}
	p.list(n, "volumes", func(s string, at ast.Node) {
		v, err := ParseVolumeRule(s)
		if err != nil {
			p.fault(at, "volumes: %v", err)
			return
		}
		for i, other := range l.Volumes {
			switch {
			case other.covers(v):
				p.fault(at, "volumes: %s changes nothing: %s allows it already", v, other)
			case v.covers(other):
				p.fault(places[i], "volumes: %s changes nothing: %s allows it already", other, v)
			}
		}
		l.Volumes, places = append(l.Volumes, v), append(places, at)
	})
}
