package label

import selinux "github.com/opencontainers/selinux/go-selinux"

// LabelSockets labels the sockets that this thread makes from now on like the holder's processes,
// who are to use them. The caller has locked its thread, and calls UnlabelSockets.
func (l *Lease) LabelSockets() error {
	if l.process == "" {
		return nil
	}
	return selinux.SetSocketLabel(l.process)
}

// UnlabelSockets takes back LabelSockets.
func UnlabelSockets() { _ = selinux.SetSocketLabel("") }

// LabelExec labels the program that this thread, or a process that it forks, executes next. The
// caller has locked its thread, and calls UnlabelExec.
func (l *Lease) LabelExec() error {
	if l.process == "" {
		return nil
	}
	return selinux.SetExecLabel(l.process)
}

// UnlabelExec takes back LabelExec.
func UnlabelExec() { _ = selinux.SetExecLabel("") }
