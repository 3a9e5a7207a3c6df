package main

import (
	"errors"

	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/trust/tpm"
)

// measure puts records into the PCR that the policy names.
func measure(m trust.MeasurementPolicy) trust.Measure {
	return tpm.Register{Device: m.Device, PCR: m.PCR}.Extend
}

// verified is what `clearrun log verify` found.
type verified struct {
	trust.LogSummary
	PCR *trust.PCRReplay `json:"pcr,omitempty"` // nil: it was not asked for
}

// replay holds the log against the PCR that the policy names.
func (g globals) replay(l *trust.Log) (*trust.PCRReplay, error) {
	policy, err := g.policy()
	if err != nil {
		return nil, err
	}
	m := policy.Measurement()
	if m.TPM == trust.TPMOff {
		return nil, errors.New("--pcr: the policy has nothing measured: let it say measurement: {tpm: optional}, or leave --pcr out")
	}
	return l.ReplayPCR(m.PCR, tpm.Register{Device: m.Device, PCR: m.PCR}.Read)
}
