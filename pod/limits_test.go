package pod_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/pod"
)

func TestWithoutLimits(t *testing.T) {
	h := newHost(t)
	why := errors.New("no cgroups here")
	p, err := build(t, h, fullApp, pod.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WithoutLimits(pod.LimitCPUs, why); err != nil {
		t.Fatal(err)
	}
	if p.Resources != (pod.Resources{MemoryBytes: 512 << 20}) {
		t.Errorf("without that on CPUs: %+v", p.Resources)
	}
	for _, e := range p.Enforcement {
		if lost := e.Detail == why.Error(); lost != (e.Name == "resource/cpu") || lost != (e.State == pod.Unenforced) && e.Name != "os/linux/oom-score-adj" {
			t.Errorf("without that on CPUs: %+v", e)
		}
	}
	if err := p.WithoutLimits(pod.AllLimits, why); err != nil {
		t.Fatal(err)
	}
	if p.Resources != (pod.Resources{}) {
		t.Errorf("limits are left: %+v", p.Resources)
	}
	want := map[string]bool{"resource/memory": true, "resource/cpu": true, "limits": true}
	for _, e := range p.Enforcement {
		if e.State == pod.Unenforced && e.Detail == why.Error() {
			delete(want, e.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("the report is silent about %v: %+v", want, p.Enforcement)
	}
	for lost, o := range map[pod.Limits]pod.Overrides{pod.LimitMemory: {MemoryBytes: 1 << 30}, pod.LimitCPUs: {CPUs: 1}} {
		p, err := build(t, h, fullApp, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []pod.Limits{lost, pod.AllLimits} {
			if err := p.WithoutLimits(l, why); !errors.Is(err, why) {
				t.Errorf("%+v: %v", o, err)
			}
		}
		if err := p.WithoutLimits(pod.AllLimits&^lost, why); err != nil {
			t.Errorf("%+v, and others are lost: %v", o, err)
		}
	}
	strict, err := build(t, h, strings.Replace(fullApp, `,
	{"name":"os/linux/oom-score-adj","value":100}`, "", 1), pod.Overrides{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := strict.WithoutLimits(pod.AllLimits, why); !errors.Is(err, why) || !strings.Contains(err.Error(), "--strict") {
		t.Errorf("strict: %v", err)
	}
}
