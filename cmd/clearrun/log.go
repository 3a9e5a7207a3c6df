package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun"
)

// logCommand is `clearrun log`.
func logCommand(args []string, g globals, io stdio) (int, error) {
	const text = "The log of what was asked for, what was decided and how it ended: /var/lib/clearrun/log for root,\n" +
		"~/.local/state/clearrun/log for a user, or log in --config-dir."
	return group{"log", text, []command{
		{"show", "show each decision, the oldest first", logShow},
		{"verify", "look for records that were changed, removed, added or moved", logVerify},
	}}.run(args, g, io)
}

func (g globals) log() (*trust.Log, error) {
	dir, err := trust.LogDir(g.configDir)
	if err != nil {
		return nil, err
	}
	return trust.OpenLog(dir, trust.LogBounds{}), nil
}

func logShow(args []string, g globals, io stdio) (int, error) {
	f := newFlags("log show [--json]", "Show each decision, the oldest first. Exit code 1: the log was tampered with or damaged.", &g, io)
	asJSON := f.Bool("json", false, "print the records as they are, one JSON object a line")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() > 0 {
		return vmrun.ExitFailure, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	l, err := g.log()
	if err != nil {
		return vmrun.ExitFailure, err
	}
	out := json.NewEncoder(io.out)
	out.SetEscapeHTML(false)
	sum, err := l.Each(func(r trust.Record) error {
		if *asJSON {
			return out.Encode(r)
		}
		return printRecord(io.out, r)
	})
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if len(sum.Faults) > 0 {
		fmt.Fprintln(io.err, "clearrun: this log was tampered with or damaged; clearrun log verify says where")
		return exitRefused, nil
	}
	return 0, nil
}

// printRecord prints one line a record. What images and users wrote is quoted.
func printRecord(w io.Writer, r trust.Record) error {
	line := fmt.Sprintf("%d %s %-7s uid %d pid %d", r.Seq, r.Time.Local().Format(time.DateTime), r.Event, r.UID, r.PID)
	if r.Reference != "" {
		line += fmt.Sprintf(" %.200q", r.Reference)
	}
	if r.Image != "" {
		line += fmt.Sprintf(" %s %.19s", r.Image, r.Digest)
	}
	if r.Tier != "" {
		line += " tier " + r.Tier
	}
	if r.Event == trust.EventAllowed && !r.Trusted {
		line += " UNTRUSTED"
	}
	for _, b := range r.Bypassed {
		line += fmt.Sprintf(" bypassed:%.20q", b)
	}
	if r.Run != 0 {
		line += fmt.Sprintf(" run %d", r.Run)
	}
	if r.Exit != nil {
		line += fmt.Sprintf(" exit %d", *r.Exit)
	}
	for _, text := range []string{r.Decision, r.Error} {
		if text != "" {
			line += fmt.Sprintf(" %.300q", text)
		}
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

func logVerify(args []string, g globals, io stdio) (int, error) {
	f := newFlags("log verify [--head HASH] [--pcr] [--json]",
		"Look for records that were changed, removed, added or moved. Exit code 0: there are none, 1: there are.\n"+
			"Note the last hash elsewhere: who can write the log can forge all of it, but not to have that hash.", &g, io)
	pcr := f.Bool("pcr", false, "hold the log against the TPM's PCR, as the policy's measurement names it")
	noted := f.String("head", "", "a last hash that was noted earlier: its record must still be there")
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if f.NArg() > 0 {
		return vmrun.ExitFailure, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	l, err := g.log()
	if err != nil {
		return vmrun.ExitFailure, err
	}
	verify := l.Verify
	if *noted != "" {
		verify = func() (trust.LogSummary, error) { return l.VerifyNoted(*noted) }
	}
	sum := verified{}
	if sum.LogSummary, err = verify(); err == nil && *pcr {
		sum.PCR, err = g.replay(l)
	}
	if err != nil {
		return vmrun.ExitFailure, err
	}
	if sum.PCR != nil {
		sum.Faults = append(sum.Faults, sum.PCR.Faults...)
	}
	code := 0
	if len(sum.Faults) > 0 {
		code = exitRefused
	}
	if *asJSON {
		return code, printJSON(io.out, sum)
	}
	for _, fault := range sum.Faults {
		fmt.Fprintln(io.out, fault)
	}
	if sum.Unfinished > 0 {
		fmt.Fprintf(io.out, "%d bytes of a record that a crash kept from being finished: the next run cuts them off\n", sum.Unfinished)
	}
	fmt.Fprintf(io.out, "%s: %d records from %d to %d, last hash %s\n", l.Dir(), sum.Records, sum.First, sum.Last, sum.Hash)
	if p := sum.PCR; p != nil {
		fmt.Fprintf(io.out, "PCR %d: %d records of this boot were measured, it holds %s\n", p.PCR, p.Measured, p.Value)
	}
	return code, nil
}
