package hostrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// runRootless runs a container of tier ns for a user who is not root. What takes rights to
// prepare is done by a stage, clearrun itself as root of a new user namespace (stage.go), which
// ends when it has started PID 1. That is then this process's own child, as for root.
func (o Options) runRootless(ctx context.Context, p *pod.Pod, start *proto.Start, lease *label.Lease) (int, error) {
	if p.UserNamespace == pod.UserNamespaceHost {
		return ExitFailure, errors.New("--userns host needs root: a user's containers have user namespaces in any case; leave it out")
	}
	maps, err := userMaps()
	if err != nil {
		return ExitFailure, err
	}
	groups, err := userHierarchies(p)
	if err != nil {
		return ExitFailure, err
	}
	how := "each block is checked as it is unpacked into memory, root hash " + p.RootFS.Info.RootHash.String()
	if err := o.report(p, how, maps); err != nil {
		return ExitFailure, err
	}
	start.IDs, start.PrivateImage = maps.count, true
	start.Volumes = append(deviceVolumes(), start.Volumes...)
	// PID 1 dies with the thread that started the stage (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := &stage{
		files: []*os.File{p.RootFS.File()},
		config: stageConfig{
			Parent: os.Getpid(), Flags: namespaces(p), IDs: maps.count, Root: &p.RootFS.Info, Overlay: start.OverlaySize,
			Label: lease.FileLabel(), Volumes: p.Volumes,
		},
	}
	c, err := s.startContainer(ctx, o.Bundle, p, maps, lease)
	if err != nil {
		return ExitFailure, err
	}
	defer c.kill()
	group, err := groups.makeCgroup(p.Resources, false)
	if err != nil {
		return ExitFailure, err
	}
	defer func() {
		c.kill() // a cgroup with processes stays
		group.remove()
	}()
	if err := group.take(c.process.Pid); err != nil {
		return ExitFailure, err
	}
	return o.attend(ctx, p, start, c, group)
}

// stage is this process's side of the stage.
type stage struct {
	config stageConfig
	files  []*os.File // from stageFiles on, as it knows them
}

// startContainer runs the stage to its end.
func (s *stage) startContainer(ctx context.Context, b *bundle.Bundle, p *pod.Pod, maps idMaps, lease *label.Lease) (_ *container, err error) {
	exe, err := b.Executable(bundle.Init)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	c, theirs, err := newContainer(p, lease)
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
	s.files = slices.Concat(s.files, []*os.File{exe}, theirs)
	if f := lease.File(); f != nil {
		s.files = append(s.files, f)
		s.config.Lease = true
	}
	result, stderr, err := s.run(ctx, maps)
	if err == nil {
		c.process, err = os.FindProcess(result.PID)
	}
	if err != nil {
		c.closeConns()
		return nil, err
	}
	go c.wait(stderr)
	return c, nil
}

// run runs the stage to its end. stderr is its standard error, and that of the PID 1 it may have started.
func (s *stage) run(ctx context.Context, maps idMaps) (_ stageResult, stderr *os.File, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return stageResult{}, nil, err
	}
	result, err := s.converse(ctx, maps, write)
	write.Close()
	if err == nil {
		return result, read, nil
	}
	defer read.Close()
	if text, _ := io.ReadAll(io.LimitReader(read, maxStageWords)); len(text) > 0 {
		err = fmt.Errorf("%w: %s", err, attach.Printable(string(text)))
	}
	return result, nil, err
}

// maxStageWords bounds what is read of the stage's standard error, in bytes.
const maxStageWords = 16 << 10

// wait reaps a PID 1 that the stage has started.
func (c *container) wait(stderr *os.File) {
	_, _ = io.Copy(&c.stderr, stderr)
	stderr.Close()
	if state, err := c.process.Wait(); err == nil {
		c.state = state.String()
	}
	close(c.waited)
}

// converse starts the stage, has it work, and gives what it says at its end.
func (s *stage) converse(ctx context.Context, maps idMaps, stderr *os.File) (result stageResult, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return result, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "stage"), os.NewFile(uintptr(pair[1]), "stage")
	defer ours.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args, cmd.Env, cmd.Dir, cmd.Stderr = []string{stageName, stageMapped}, []string{}, "/", stderr
	cmd.ExtraFiles = append([]*os.File{theirs}, s.files...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if maps.count == 1 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: int(maps.uids[0].outside), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: int(maps.gids[0].outside), Size: 1}}
	} else {
		cmd.Args[1] = stageUnmapped
	}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return result, userNamespaceError(err)
	}
	defer func() {
		if err != nil {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		if cause := context.Cause(ctx); cause != nil && err != nil {
			err = cause
		}
	}()
	if maps.count > 1 {
		if err := maps.write(cmd.Process.Pid); err != nil {
			return result, err
		}
		if _, err := ours.Write([]byte{stageGo}); err != nil {
			return result, err
		}
	}
	if err := json.NewEncoder(ours).Encode(s.config); err != nil {
		return result, fmt.Errorf("tell the stage what to do: %w", err)
	}
	if err := json.NewDecoder(ours).Decode(&result); err != nil {
		return result, fmt.Errorf("prepare the container in a user namespace: the process for it ended: %w", err)
	}
	if result.Error != "" {
		return result, errors.New(result.Error)
	}
	return result, nil
}

// userNamespaceError says what keeps a user from having a user namespace.
func userNamespaceError(err error) error {
	const without = "this host lets users have no user namespaces"
	switch {
	case (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && label.Host() == label.Enforcing:
		return fmt.Errorf("%s, or SELinux does not let this one (%w): run clearrun as a user whom its policy does not confine (id -Z, semanage login), or as root", without, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s (%w): set kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0 by sysctl, whichever it has, or ask for tier vm (--vm)", without, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return fmt.Errorf("%s (%w): raise user.max_user_namespaces by sysctl, or ask for tier vm (--vm)", without, err)
	}
	return fmt.Errorf("start a process in a user namespace: %w", err)
}
