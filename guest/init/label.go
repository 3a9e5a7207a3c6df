package main

import (
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// SELinux labels of a container: clearrun has chosen them (hostrun/label). Without one,
// nothing here does anything. The files of /proc/thread-self/attr are described in selinux(8)
// and proc(5): what is written to them holds for this thread.

// labelNext labels what this thread makes next: exec, the program that it executes;
// keycreate, keys. current is this thread itself.
func labelNext(attribute, label string) error {
	if label == "" {
		return nil
	}
	fd, err := unix.Open("/proc/thread-self/attr/"+attribute, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(label))
		unix.Close(fd)
	}
	return fail("selinux", "set the label "+label+" ("+attribute+")", err)
}

// becomeTries bounds how often the own label is set, about a second in all.
const becomeTries = 1000

// become gives PID 1 itself the label. The kernel refuses with EPERM while anybody else uses
// this process's memory, as a child does on its way to its own program.
func become(label string) error {
	for range becomeTries {
		err := labelNext("current", label)
		f, ok := err.(*failure)
		if !ok || f.err != unix.EPERM {
			return err
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
	return labelNext("current", label)
}

// withContext adds a label for all files of a new file system to its mount options.
func withContext(options, label string) string {
	if label == "" {
		return options
	}
	if options != "" {
		options += ","
	}
	return options + "context=\"" + label + "\""
}

// labelled puts the label on those file systems of a table that are made for the
// container. The others show the kernel's own files, which the policy labels.
func labelled(table []mount, label string) []mount {
	for i := range table {
		switch m := &table[i]; m.fsType {
		case "tmpfs", "overlay", "devpts":
			m.data = withContext(m.data, label)
		}
	}
	return table
}

// labelPipe labels a pipe, which has the label and the whole range of categories of PID 1
// so far, like its app. Where a policy forbids that, it decides who uses the pipe as it is.
func labelPipe(fd int, label string) {
	if label != "" {
		_ = unix.Fsetxattr(fd, "security.selinux", []byte(label), 0)
	}
}

// labelQueues labels the message queues, which exist before they are mounted.
func labelQueues(start *proto.Start) {
	if start.MountLabel != "" {
		// Without it, an app has no message queues.
		_ = unix.Setxattr("/dev/mqueue", "security.selinux", []byte(start.MountLabel), 0)
	}
}
