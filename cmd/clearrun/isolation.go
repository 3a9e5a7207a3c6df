package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/pod"
)

// isolation are the options about an image's isolators.
type isolation struct {
	strict     bool
	reportPath string
}

func (o *isolation) addTo(f *pflag.FlagSet) {
	f.BoolVar(&o.strict, "strict", false, "refuse an image with an isolator that is not enforced")
	f.StringVar(&o.reportPath, "isolators", "", "write to this file what became of each isolator, as JSON")
}

// byMonitor is how tier vm verifies the root image.
var byMonitor = pod.Enforcement{
	Name: pod.RootImage, State: pod.Enforced,
	Detail: "the monitor checks each block against the hash tree before the guest sees it",
}

// isolationReport is the file of --isolators.
type isolationReport struct {
	Image     string            `json:"image"`
	Tier      string            `json:"tier"`
	Isolators []pod.Enforcement `json:"isolators"`
}

// report writes the file, before the app runs.
func (o *isolation) report(p *pod.Pod) error {
	if o.reportPath == "" {
		return nil
	}
	r := isolationReport{Image: p.Name, Tier: p.Verdict.Tier().String(), Isolators: p.Enforcement}
	if r.Isolators == nil {
		r.Isolators = []pod.Enforcement{}
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(o.reportPath, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("--isolators: %w", err)
	}
	return nil
}
