package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// scene is a run on a stage of its own whose end is violent, and all that could be
// left of it.
type scene struct {
	*conversation
	place     place
	before    []string // files of the place, store and configuration
	mountInfo string   // before clearrun's start

	processes map[int]int // clearrun's children by number: their pidfds
	monitor   int
	mounts    *os.File
	folders   []*os.File // /tmp and /dev/shm
}

// play starts an app that runs for ever.
func play(t *testing.T) *scene {
	t.Helper()
	s := &scene{mountInfo: filepath.Join(shared.tempDir(t), "mountinfo"), processes: map[int]int{}}
	s.place, _ = rendered(t)
	s.before = append(tree(t, s.place.store), tree(t, s.place.config)...)
	st := stage{Keep: shared.dir, MountInfo: s.mountInfo}
	s.conversation = converse(t, st.on(t, clearrun(t, s.place, shared.probe, "--", "signals")))
	s.expect("ready\n")
	root := fmt.Sprintf("/proc/%d", s.cmd.Process.Pid)
	s.mounts = openFile(t, root+"/mountinfo")
	s.folders = []*os.File{openFile(t, root+"/root/tmp"), openFile(t, root+"/root/dev/shm")}
	s.findProcesses()
	return s
}

// openFile keeps what path names by now.
func openFile(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// findProcesses finds clearrun's children and theirs, one of which is the monitor.
func (s *scene) findProcesses() {
	s.t.Helper()
	parents := parentsOfProcesses(s.t)
	var isOurs func(pid int) bool
	isOurs = func(pid int) bool {
		parent := parents[pid]
		return parent == s.cmd.Process.Pid || parent > 1 && isOurs(parent)
	}
	for pid := range parents {
		if !isOurs(pid) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { unix.Close(fd) })
		s.processes[pid] = fd
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(name), "clearrun-monitor\x00") {
			s.monitor = pid
		}
	}
	if s.monitor == 0 {
		s.t.Fatalf("no clearrun-monitor among the processes %v of clearrun", s.processes)
	}
	// Nobody has made a control group that would have to be removed.
	ours, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		s.t.Fatal(err)
	}
	theirs, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.monitor))
	if err != nil || string(theirs) != string(ours) {
		s.t.Errorf("the monitor is in control groups %s (%v), not in those of clearrun: %s", theirs, err, ours)
	}
}

// parentsOfProcesses gives each process's parent (proc_pid_stat(5), field 4).
func parentsOfProcesses(t *testing.T) map[int]int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	parents := map[int]int{}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		text := string(data)
		pid, _ := strconv.Atoi(text[:strings.IndexByte(text, ' ')])
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		parents[pid], _ = strconv.Atoi(fields[1])
	}
	return parents
}

// checkNothingLeft waits for the processes' end and looks for traces.
func (s *scene) checkNothingLeft() {
	s.t.Helper()
	for pid, fd := range s.processes {
		ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ended, int(patience.Milliseconds()))
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(ended, int(patience.Milliseconds()))
		}
		if n != 1 {
			s.t.Errorf("process %d still runs (%v)", pid, err)
		}
	}
	for i, keep := range []string{strings.Split(shared.dir, "/")[2], ""} {
		names, err := s.folders[i].Readdirnames(-1)
		if err != nil {
			s.t.Error(err)
		}
		for _, name := range names {
			if name != keep {
				s.t.Errorf("%s was left in %s", name, s.folders[i].Name())
			}
		}
	}
	after := append(tree(s.t, s.place.store), tree(s.t, s.place.config)...)
	if !slices.Equal(after, s.before) {
		s.t.Errorf("files before: %q\nafter: %q", s.before, after)
	}
	s.checkMounts()
}

func (s *scene) checkMounts() {
	s.t.Helper()
	before, err := os.ReadFile(s.mountInfo)
	if err != nil {
		s.t.Fatal(err)
	}
	after := make([]byte, 1<<20)
	n, err := s.mounts.Read(after)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(after[:n])) {
		if !strings.Contains(string(before), line) {
			s.t.Errorf("mount was left: %s", line)
		}
	}
}

func TestMonitorKilled(t *testing.T) {
	needRoot(t)
	needVM(t)
	takeSlot(t)
	s := play(t)
	if err := unix.Kill(s.monitor, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := s.end()
	r.check(t, exitFailure)
	if want := "clearrun: the VM's monitor ended unexpectedly (signal: killed)\n"; r.stderr != want {
		t.Errorf("stderr %q, want %q", r.stderr, want)
	}
	s.checkNothingLeft()
}

// TestClearrunKilled: the VM ends with it, and the next run is none the worse.
func TestClearrunKilled(t *testing.T) {
	needRoot(t)
	needVM(t)
	takeSlot(t)
	s := play(t)
	s.send(unix.SIGKILL)
	s.end()
	s.checkNothingLeft()
	run(t, s.place, shared.probe).check(t, 0)
	if left := tree(t, filepath.Join(s.place.store, "v1/tmp")); len(left) != 1 {
		t.Errorf("left in the store: %q", left)
	}
}
