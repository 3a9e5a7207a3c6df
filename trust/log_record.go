package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The events of a decision log.
const (
	EventAllowed = "allowed" // the image was let run
	EventRefused = "refused" // it was not, whatever the reason
	EventExit    = "exit"    // the run has ended
	EventRepair  = "repair"  // the half-written record of a crash was cut off

	EventMeasured   = "measured"   // the decision was measured into the TPM
	EventUnmeasured = "unmeasured" // it was not, and the policy lets it run nonetheless
)

// Record is one line of a decision log.
type Record struct {
	Seq   uint64    `json:"seq"` // from 1, without gaps
	Time  time.Time `json:"time"`
	Event string    `json:"event"`
	// Run is the Seq of the decision that an exit or a measurement belongs to.
	Run uint64 `json:"run,omitempty"`

	// Who asked. Login is who logged in at first, also behind sudo (audit's loginuid).
	UID   int  `json:"uid"`
	PID   int  `json:"pid"`
	Login *int `json:"login,omitempty"`

	Reference string `json:"reference,omitempty"` // the image as it was asked for
	Image     string `json:"image,omitempty"`     // its name
	Digest    string `json:"digest,omitempty"`
	// Trusted says that somebody trusted has signed the image and this was checked.
	Trusted  bool   `json:"trusted"`
	Signer   string `json:"signer,omitempty"` // fingerprint
	Identity string `json:"identity,omitempty"`
	Policy   string `json:"policy,omitempty"` // its file
	Rule     string `json:"rule,omitempty"`
	Tier     string `json:"tier,omitempty"`
	Decision string `json:"decision,omitempty"` // in words
	// Bypassed names what the user had skipped.
	Bypassed []string `json:"bypassed,omitempty"`
	Options  []string `json:"options,omitempty"` // given on the command line
	Monitor  string   `json:"monitor,omitempty"` // digest of the program
	Kernel   string   `json:"kernel,omitempty"`  // digest of the guest's
	Exit     *int     `json:"exit,omitempty"`
	Error    string   `json:"error,omitempty"`

	Measured *Measurement `json:"measured,omitempty"`

	// Prev is the Hash of the record before this one. Hash, which stands last, is the
	// SHA-256 of the line up to itself.
	Prev string `json:"prev"`
	Hash string `json:"hash,omitempty"`
}

// Bounds on a record in bytes.
const (
	lineMax     = 192 << 10 // if JSON must escape every byte of all texts
	logTextMax  = 1 << 10   // of one text of a record
	logListMax  = 64        // entries of one list
	hashTextLen = 2 * sha256.Size
)

// hashField is what stands between a record's content and its hash.
const hashField = `,"hash":"`

// genesis is Prev of the first record.
func genesis() string { return fmt.Sprintf("%064d", 0) }

// seal makes the line of a record, with its hash.
func (r Record) seal() (line []byte, hash string, err error) {
	r.Hash = ""
	r.bound()
	data, err := json.Marshal(r)
	if err != nil {
		return nil, "", err
	}
	data = data[:len(data)-1] // the brace
	sum := sha256.Sum256(data)
	hash = hex.EncodeToString(sum[:])
	line = fmt.Appendf(data, "%s%s\"}\n", hashField, hash)
	if len(line) > lineMax {
		return nil, "", fmt.Errorf("a record of %d bytes, more than %d", len(line), lineMax)
	}
	return line, hash, nil
}

// bound cuts what comes from images and users to a size that leaves the log readable.
func (r *Record) bound() {
	for _, s := range []*string{&r.Reference, &r.Image, &r.Signer, &r.Identity, &r.Policy, &r.Rule, &r.Decision, &r.Error} {
		*s = cut(*s)
	}
	r.Options = cutList(r.Options)
	r.Bypassed = cutList(r.Bypassed)
}

func cut(s string) string {
	if len(s) > logTextMax {
		return s[:logTextMax] + "..."
	}
	return s
}

func cutList(list []string) []string {
	const entryMax = 100
	if len(list) > logListMax {
		list = append(list[:logListMax:logListMax], "...")
	}
	var short []string
	for _, s := range list {
		if len(s) > entryMax {
			s = s[:entryMax] + "..."
		}
		short = append(short, s)
	}
	return short
}

// unseal reads a line, without its end, and checks its hash.
func unseal(line []byte) (Record, error) {
	var r Record
	end := len(line) - len(`"}`) - hashTextLen - len(hashField)
	if end <= 0 || !bytes.HasPrefix(line[end:], []byte(hashField)) || !bytes.HasSuffix(line, []byte(`"}`)) {
		return r, errors.New("is no record")
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, errors.New("is no record")
	}
	sum := sha256.Sum256(line[:end])
	if hex.EncodeToString(sum[:]) != r.Hash || string(line[end+len(hashField):len(line)-2]) != r.Hash {
		return r, errors.New("was changed: its hash does not fit")
	}
	return r, nil
}
