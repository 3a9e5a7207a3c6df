package trust

// Explanation is how a policy comes to its decision about an image, for people to
// read. It permits nothing; only a Verdict does.
type Explanation struct {
	Policy string `json:"policy"` // its file; empty: there is none
	Image  string `json:"image"`
	Digest string `json:"digest"`
	// Rules are those that were looked at, in order; the last one may match.
	Rules []RuleMatch `json:"rules"`
	// Rule is the one that decides; empty: none matches.
	Rule     string    `json:"rule"`
	Findings []Finding `json:"findings"`
	// Allows is what else the rule lets the image have; nil: no rule matches, or it denies.
	Allows *Allowance `json:"allows,omitempty"`
	// Dependencies are those of an ACI, each of which must be allowed at the same tier.
	Dependencies []Explanation `json:"dependencies,omitempty"`
	// Measurement says that the run would be measured into a TPM; nil: it would not.
	Measurement *MeasurementPolicy `json:"measurement,omitempty"`

	Allowed bool   `json:"allowed"`
	Tier    string `json:"tier,omitempty"`
	// Decision is Verdict.How, or the refusal.
	Decision string `json:"decision"`
}

// RuleMatch says whether a rule is about the image.
type RuleMatch struct {
	Name    string `json:"name"`
	Line    int    `json:"line,omitempty"`
	Matches bool   `json:"matches"`
	Reason  string `json:"reason,omitempty"` // why it does not match
}

// Finding is one thing that the rule asks for, beside what was found.
type Finding struct {
	Required string `json:"required"`
	Found    string `json:"found"`
	OK       bool   `json:"ok"`
}

// Allowance is what a rule lets an image have, and its user skip.
type Allowance struct {
	Limits
	Insecure  bool `json:"insecure"`
	PlainHTTP bool `json:"plainHTTP"`
}

// allowance is that of the rule, with what goes without saying.
func (r *rule) allowance() *Allowance {
	a := &Allowance{r.limits.clone(), r.insecure, r.plainHTTP}
	a.Networks, a.Ports = r.limits.allowedNetworks(), r.limits.allowedPorts()
	if a.Volumes == nil {
		a.Volumes = []VolumeRule{}
	}
	return a
}

// Explain takes the same decision as Decide and tells how, without permitting anything.
func Explain(r Request) (Explanation, Verdict, error) {
	e := Explanation{Policy: r.Policy.Source(), Image: string(r.Name), Digest: r.Digest.String(), Rules: []RuleMatch{}, Findings: []Finding{}}
	if m := r.Policy.Measurement(); m.TPM != TPMOff {
		e.Measurement = &m
	}
	v, err := Decide(r)
	if broken := r.check(); broken != nil {
		return e, Verdict{}, err
	}
	ruling := r.rule()
	e.Rules = append(e.Rules, ruling.tried...)
	e.Findings = append(e.Findings, ruling.findings...)
	if ruling.by != nil {
		e.Rule = ruling.by.name
		if !ruling.by.deny {
			e.Allows = ruling.by.allowance()
		}
	}
	if err != nil {
		e.Decision = err.Error()
		return e, Verdict{}, nil
	}
	e.Allowed, e.Tier, e.Decision = true, v.Tier().String(), v.How()
	return e, v, nil
}

// Refuse adds a finding of somebody else that forbids the run.
func (e *Explanation) Refuse(f Finding, err error) {
	e.Findings = append(e.Findings, f)
	e.Allowed, e.Tier, e.Decision = false, "", err.Error()
}

// ruling is a decision in all its parts.
type ruling struct {
	request  Request
	by       *rule // nil: none matches
	tried    []RuleMatch
	findings []Finding
	signers  []counted // whose signatures were asked for and found
	tier     Tier
}

// rule finds the first rule that matches, and holds the image against it.
func (r Request) rule() ruling {
	g := ruling{request: r}
	rules := r.Policy.orDefault().rules
	for i := range rules {
		reason := rules[i].match.misfit(r)
		g.tried = append(g.tried, RuleMatch{rules[i].name, rules[i].line, reason == "", reason})
		if reason == "" {
			g.by = &rules[i]
			g.judge()
			return g
		}
	}
	return g
}
