package trust

import (
	"fmt"
	"path/filepath"

	"github.com/goccy/go-yaml/ast"
)

// MeasurementPolicy says whether decisions are measured into the host's TPM before anything runs.
type MeasurementPolicy struct {
	TPM    TPMUse `json:"tpm"`
	PCR    int    `json:"pcr"`    // of the SHA-256 bank
	Device string `json:"device"` // or the Unix socket of an emulated TPM
}

// Refusal is the error of a run that cannot be measured, and must be.
func (m MeasurementPolicy) Refusal(cause error) error {
	return fmt.Errorf("trust: the policy requires that runs are measured into the TPM: %w: "+
		"make %s usable for you, or have the policy say measurement: {tpm: optional}", cause, m.Device)
}

// TPMUse is whether there must be a TPM.
type TPMUse string

const (
	TPMOff      TPMUse = "off"      // nothing is measured
	TPMOptional TPMUse = "optional" // where there is one; the log says if it was not
	TPMRequired TPMUse = "required" // or nothing runs
)

// What holds if a policy does not say otherwise. Linux hosts leave the last of the static
// PCRs to applications (UAPI group, Linux TPM PCR Registry); those below 8 are the firmware's.
const (
	pcrDefault, pcrLeast, pcrMost = 15, 8, 23

	tpmDevice = "/dev/tpmrm0" // behind the kernel's resource manager
)

// Measurement says whether decisions are measured.
func (p *Policy) Measurement() MeasurementPolicy {
	if p == nil || p.measurement.TPM == "" {
		return MeasurementPolicy{TPM: TPMOff}
	}
	return p.measurement
}

func (p *policyReader) readMeasurement(n ast.Node) {
	m := MeasurementPolicy{PCR: pcrDefault, Device: tpmDevice}
	at := p.mapping(n, "measurement", fields{
		"tpm": func(n ast.Node) {
			s, _ := scalar(n)
			switch m.TPM = TPMUse(s); m.TPM {
			case TPMOff, TPMOptional, TPMRequired:
			default:
				p.fault(n, "tpm: want %s, %s or %s", TPMOff, TPMOptional, TPMRequired)
			}
		},
		"pcr": func(n ast.Node) {
			if m.PCR = p.count(n, "pcr", pcrMost); m.PCR > 0 && m.PCR < pcrLeast {
				p.fault(n, "pcr: %d is the firmware's: want one from %d to %d", m.PCR, pcrLeast, pcrMost)
			}
		},
		"device": func(n ast.Node) {
			s, ok := p.text(n, "device")
			if m.Device = s; ok && (!filepath.IsAbs(s) || filepath.Clean(s) != s) {
				p.fault(n, "device: %q: want a whole path, such as %s", s, tpmDevice)
			}
		},
	})
	if at == nil {
		return
	}
	if at["tpm"] == nil {
		p.fault(n, "measurement: has no tpm: want %s, %s or %s", TPMOff, TPMOptional, TPMRequired)
	}
	for _, field := range []string{"pcr", "device"} {
		if m.TPM == TPMOff && at[field] != nil {
			p.fault(at[field], "measurement: %s says nothing where tpm is off", field)
		}
	}
	p.measurement = m
}
