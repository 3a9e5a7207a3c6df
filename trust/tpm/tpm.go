// Package tpm extends and reads platform configuration registers of the host's TPM 2.0:
// what was put into one cannot be taken out before the next boot. It is for the decision
// log; it knows nothing of what the digests stand for, and it neither quotes nor seals.
package tpm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"

	"github.com/clearrun/clearrun/trust/pcr"
)

// Register is one PCR of a TPM.
type Register struct {
	Device string // /dev/tpmrm0, or the Unix socket of one that is emulated
	PCR    int
}

// Read returns what the PCR holds.
func (r Register) Read() (pcr.Value, error) {
	t, err := r.open()
	if err != nil {
		return pcr.Value{}, err
	}
	v, err := r.read(t)
	return v, errors.Join(err, t.Close())
}

// Extend puts a digest into the PCR, and returns what it held before and after. It is
// an error if the PCR did not take it, as where there is no bank for SHA-256. Nobody else may
// extend the PCR meanwhile.
func (r Register) Extend(digest pcr.Value) (before, after pcr.Value, err error) {
	t, err := r.open()
	if err != nil {
		return before, after, err
	}
	before, after, err = r.extend(t, digest)
	return before, after, errors.Join(err, t.Close())
}

func (r Register) extend(t transport.TPM, digest pcr.Value) (before, after pcr.Value, err error) {
	if before, err = r.read(t); err != nil {
		return before, after, err
	}
	cmd := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(r.PCR), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]}}},
	}
	if _, err = cmd.Execute(t); err != nil {
		return before, after, fmt.Errorf("extend PCR %d: %w", r.PCR, err)
	}
	if after, err = r.read(t); err != nil {
		return before, after, err
	}
	if after != before.Extended(digest) {
		return before, after, fmt.Errorf("extend PCR %d: it did not take the digest: somebody else extends it, too", r.PCR)
	}
	return before, after, nil
}

func (r Register) read(t transport.TPM) (v pcr.Value, err error) {
	bit := make([]byte, 3) // PCRs 0 to 23
	bit[r.PCR/8] = 1 << (r.PCR % 8)
	cmd := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{
		PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: bit}},
	}}
	rsp, err := cmd.Execute(t)
	if err != nil {
		return v, fmt.Errorf("read PCR %d: %w", r.PCR, err)
	}
	if len(rsp.PCRValues.Digests) != 1 || len(rsp.PCRValues.Digests[0].Buffer) != len(v) {
		return v, fmt.Errorf("read PCR %d: the TPM has no SHA-256 bank", r.PCR)
	}
	copy(v[:], rsp.PCRValues.Digests[0].Buffer)
	return v, nil
}

// pcrs is how many PCRs a TPM of a PC has (PC Client Platform TPM Profile).
const pcrs = 24

func (r Register) open() (transport.TPMCloser, error) {
	if r.PCR < 0 || r.PCR >= pcrs {
		return nil, fmt.Errorf("PCR %d: want 0 to %d", r.PCR, pcrs-1)
	}
	info, err := os.Stat(r.Device)
	if err != nil {
		return nil, fmt.Errorf("open TPM: %w", err)
	}
	open := linuxtpm.Open
	if info.Mode()&fs.ModeSocket != 0 {
		open = linuxudstpm.Open
	}
	t, err := open(r.Device)
	if err != nil {
		return nil, fmt.Errorf("open TPM: %w", err)
	}
	return t, nil
}
