package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one that carries the traffic of a network namespace, as long as it lives.
type process struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when the interface is up
	ended chan struct{} // closed when it has been reaped

	mu   sync.Mutex
	said []string // its last lines
}

// patience bounds how long it may take to set up the interface.
const patience = 30 * time.Second

// maxLines and maxLine bound what is kept of what it says.
const (
	maxLines = 8
	maxLine  = 400
)

// start starts the program, which dies with this thread, and waits until one of its lines
// on stderr is what isReady looks for.
func start(ctx context.Context, cmd *exec.Cmd, isReady func(line string) bool) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = w
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	p := &process{cmd: cmd, ready: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		p.listen(r, isReady)
		r.Close()
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, p.await(ctx)
}

// await returns when the process is ready. Otherwise nothing of it is left.
func (p *process) await(ctx context.Context) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.ready:
		return nil
	case <-p.ended:
		return p.failure()
	case <-ctx.Done():
		_ = p.Close()
		return context.Cause(ctx)
	case <-late.C:
		_ = p.Close()
		return errors.Join(fmt.Errorf("it set up no interface in %v", patience), p.failure())
	}
}

// listen reads what the process says until it ends.
func (p *process) listen(r io.Reader, isReady func(string) bool) {
	lines := bufio.NewReaderSize(r, maxLine)
	ready := false
	for {
		text, long, err := lines.ReadLine()
		if err != nil {
			return
		}
		line := strings.TrimSpace(string(text))
		switch {
		case !ready && isReady(line):
			ready = true
			p.forget() // warnings, which have nothing to do with its end
			close(p.ready)
		case line != "" && !long:
			p.note(line)
		}
	}
}

func (p *process) note(line string) {
	if strings.HasSuffix(line, "bytes to syslog") {
		return // pasta, where nobody listens at /dev/log
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said = append(p.said, line); len(p.said) > maxLines {
		p.said = p.said[1:]
	}
}

func (p *process) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = nil
}

// failure is what the process said before it ended.
func (p *process) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.said) == 0 {
		return errors.New("it ended without a word: " + p.cmd.ProcessState.String())
	}
	return errors.New(strings.Join(p.said, "; "))
}

// Close ends the process. Close is idempotent.
func (p *process) Close() error {
	_ = p.cmd.Process.Kill()
	<-p.ended
	return nil
}
