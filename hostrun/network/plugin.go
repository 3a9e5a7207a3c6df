package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"
)

// plugins runs the programs for libcni. They hold the record's lock as long as they live. If this thread
// ends, those that connect do, too; one that disconnects goes on: those of today forget the rest (of firewall
// rules) once they have removed the interface, and would not come back to it.
type plugins struct {
	version.PluginDecoder
	lock *os.File
}

// maxSaid bounds what is read of a plugin's output, in bytes, and pipePatience for how long a
// process that it has left may keep that open.
const (
	maxSaid      = 1 << 20
	pipePatience = time.Second
)

// FindInPath looks for a plugin.
func (*plugins) FindInPath(plugin string, dirs []string) (string, error) {
	return invoke.FindInPath(plugin, dirs)
}

// ExecPlugin runs one and gives what it says. With ctx it ends, and all that it has started.
func (p *plugins) ExecPlugin(ctx context.Context, path string, config []byte, environ []string) ([]byte, error) {
	stdout, stderr := &bounded{max: maxSaid}, &bounded{max: maxLine}
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir, cmd.Env = "/", pluginEnviron(environ)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(config), stdout, stderr
	cmd.ExtraFiles = []*os.File{p.lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if slices.Contains(environ, "CNI_COMMAND=ADD") {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = pipePatience
	err := cmd.Run()
	name := filepath.Base(path)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("plugin %s was ended: %w", name, context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // it has ended, and left somebody behind
	case err != nil:
		return nil, fmt.Errorf("plugin %s: %w", name, pluginFailure(err, stdout.kept.String(), stderr.kept.String()))
	}
	if stdout.full {
		return nil, fmt.Errorf("plugin %s said more than %d bytes", name, maxSaid)
	}
	return stdout.kept.Bytes(), err
}

// pluginEnviron is the environment of a plugin: what CNI has for it, and a PATH by which it
// finds iptables and its like. Nothing of whoever runs clearrun.
func pluginEnviron(environ []string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	for _, e := range environ {
		if strings.HasPrefix(e, "CNI_") {
			env = append(env, e)
		}
	}
	return env
}

// pluginFailure is the error that the plugin reported (CNI spec, Section 5, Error).
func pluginFailure(err error, stdout, stderr string) error {
	var report types.Error
	if json.Unmarshal([]byte(stdout), &report) == nil && report.Msg != "" {
		return errors.New(oneLine(report.Error()))
	}
	if text := oneLine(stderr); text != "" {
		return errors.New(text)
	}
	return fmt.Errorf("it failed without a word (%w)", err)
}

// oneLine makes a line of what a program says.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxLine {
		s = s[:maxLine] + "..."
	}
	return s
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	kept bytes.Buffer
	max  int
	full bool // there was more
}

// Write takes everything.
func (b *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if room := b.max - b.kept.Len(); len(p) > room {
		p, b.full = p[:room], true
	}
	_, _ = b.kept.Write(p)
	return n, nil
}
