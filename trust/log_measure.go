package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/trust/pcr"
)

// Measurement says how a record was measured: its Hash was put into a PCR of the TPM.
type Measurement struct {
	PCR  int    `json:"pcr"`
	Boot string `json:"boot"` // the kernel's boot_id: a PCR lasts as long
	// Before and After are what the PCR held, in hex.
	Before string `json:"before"`
	After  string `json:"after"`
}

// Measure puts a record's hash into a PCR, and returns what that held before and after.
type Measure func(hash pcr.Value) (before, after pcr.Value, err error)

// AppendMeasured is Append, and measures the record before anybody else can write the next one.
// A second record says how, or why not. If it could not be measured and the policy
// requires that, that record is a refusal, and so is the error.
func (l *Log) AppendMeasured(r Record, m MeasurementPolicy, measure Measure) (seq uint64, err error) {
	var refusal error
	err = l.write(func(w *logWriter) error {
		if seq, err = w.write(r); err != nil {
			return err
		}
		note := Record{Event: EventMeasured, Run: seq}
		var cause error
		if note.Measured, cause = w.measure(m.PCR, measure); cause != nil {
			note.Event, note.Error = EventUnmeasured, cause.Error()
		}
		if cause != nil && m.TPM == TPMRequired {
			refusal = m.Refusal(cause)
			note.Event, note.Decision, note.Error = EventRefused, refusal.Error(), ""
		}
		_, err := w.write(note)
		return err
	})
	return seq, errors.Join(refusal, err)
}

// measure measures the last record.
func (w *logWriter) measure(number int, measure Measure) (*Measurement, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	hash, err := pcr.Parse(w.head.Hash)
	if err != nil {
		return nil, err
	}
	before, after, err := measure(hash)
	if err != nil {
		return nil, err
	}
	return &Measurement{PCR: number, Boot: boot, Before: before.String(), After: after.String()}, nil
}

// bootID tells this boot from all others.
func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// PCRReplay is what comes of holding a log against a PCR.
type PCRReplay struct {
	PCR      int      `json:"pcr"`
	Value    string   `json:"value"`           // what the PCR holds now
	Start    string   `json:"start,omitempty"` // what it held before the first record
	Measured uint64   `json:"measured"`        // records of this boot
	Faults   []string `json:"-"`

	boot    string
	last    string            // what it held after the last one
	pending map[uint64]string // hashes of decisions that no record calls measured, by Seq
}

// ReplayPCR takes the log's measurements of this boot again, and holds them against the PCR.
// Whoever can write the log cannot make the PCR fit what they forged. That the log is
// whole in itself is for Verify to find.
func (l *Log) ReplayPCR(number int, read func() (pcr.Value, error)) (*PCRReplay, error) {
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("decision log: %w", err)
	}
	p := &PCRReplay{PCR: number, Faults: []string{}, boot: boot, pending: make(map[uint64]string)}
	h, err := l.lock(os.O_RDONLY, unix.LOCK_SH) // so that nobody measures meanwhile
	if err == nil {
		defer h.close()
		_, err = l.walk(h, p.record)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("decision log: %w", err)
	}
	value, err := read()
	if err != nil {
		return nil, err
	}
	p.finish(value)
	return p, nil
}

func (p *PCRReplay) fault(format string, args ...any) {
	if len(p.Faults) < faultsMax {
		p.Faults = append(p.Faults, fmt.Sprintf(format, args...))
	}
}

// record takes the next one of the log.
func (p *PCRReplay) record(r Record) error {
	if r.Event == EventAllowed {
		p.pending[r.Seq] = r.Hash
	}
	m := r.Measured
	if m == nil || m.Boot != p.boot || m.PCR != p.PCR {
		return nil
	}
	hash, ok := p.pending[r.Run]
	delete(p.pending, r.Run)
	if p.Measured == 0 {
		p.Start, p.last = m.Before, m.Before
	}
	p.Measured++
	switch {
	case !ok:
		p.fault("record %d, which was measured, is not there any more", r.Run)
	case !extends(m.Before, hash, m.After):
		p.fault("record %d is not the one that was measured", r.Run)
	case !p.leadsTo(m.Before):
		p.fault("before record %d, something that the log does not hold was measured into PCR %d", r.Run, p.PCR)
	}
	p.last = m.After
	clear(p.pending)
	return nil
}

// leadsTo reports whether the PCR can have come to a value by what the log holds: it is the last one, or
// clearrun was killed between measuring a decision and saying so.
func (p *PCRReplay) leadsTo(value string) bool {
	if value == p.last {
		return true
	}
	for _, hash := range p.pending {
		if extends(p.last, hash, value) {
			return true
		}
	}
	return false
}

func (p *PCRReplay) finish(value pcr.Value) {
	p.Value = value.String()
	switch {
	case p.Measured == 0 && !value.Pristine():
		p.fault("no record of this boot was measured into PCR %d, but it holds %s: something else measures into it, or records were removed", p.PCR, p.Value)
	case p.Measured > 0 && !p.leadsTo(p.Value):
		p.fault("PCR %d holds %s, but the log's records lead to %s: some were forged or removed, or something else measures into it", p.PCR, p.Value, p.last)
	}
}

// extends reports whether a PCR that held before holds after once hash was put into it. Text of the log
// that is no value of a PCR leads nowhere.
func extends(before, hash, after string) bool {
	v, err := pcr.Parse(before)
	h, err2 := pcr.Parse(hash)
	return err == nil && err2 == nil && v.Extended(h).String() == after
}
