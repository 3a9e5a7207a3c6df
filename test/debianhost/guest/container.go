package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// isolators is where runs write their report.
const isolators = "/var/isolators.json"

// container is one that has said "ready".
type container struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Reader
	stderr bytes.Buffer
}

// start runs a shell's script in the test's image. It says "ready" and goes on when its
// standard input ends.
func start(store, script string, options ...string) (*container, error) {
	args := append([]string{"run", "-i", "--store", store, "--config-dir", "/var/config", "--isolators", isolators}, options...)
	c := &container{cmd: exec.Command("/bin/clearrun", append(args, "/app.aci", "--", "sh", "-c", "echo ready; read x; "+script)...)}
	c.cmd.Stderr = &c.stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.lines = bufio.NewReader(stdout)
	if line, err := c.lines.ReadString('\n'); line != "ready\n" {
		_ = c.cmd.Wait()
		return nil, fmt.Errorf("it said %q (%v), stderr %q", line, err, c.stderr.String())
	}
	return c, nil
}

// verifiedRun makes a run whose root image is to be verified in some way. Nothing is left of it.
func verifiedRun(store, name, how string) error {
	c, err := start(store, readBlocks, "--ns")
	if err != nil {
		return err
	}
	said := isolator("root-image")
	out, code, err := c.end()
	if err != nil {
		return err
	}
	left := await(devices)
	inside.Report(name, code == 3 && strings.HasPrefix(out, "block 0000\nblock 0200") && strings.HasPrefix(said, "enforced: "+how) && left == nil, quoted(code, out, said, left))
	return nil
}

// end lets the script go on, and gives what it says and how it ends.
func (c *container) end() (stdout string, code int, err error) {
	c.stdin.Close()
	out, err := io.ReadAll(c.lines)
	_ = c.cmd.Wait()
	return string(out), c.cmd.ProcessState.ExitCode(), err
}

// bytesRead is what clearrun has read so far by system calls.
func (c *container) bytesRead() (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(strings.TrimPrefix(line, "rchar: "))
}

// isolator finds an entry of the last report: its state and detail.
func isolator(name string) string {
	var report struct {
		Isolators []struct{ Name, State, Detail string }
	}
	data, err := os.ReadFile(isolators)
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		return err.Error()
	}
	for _, i := range report.Isolators {
		if i.Name == name {
			return i.State + ": " + i.Detail
		}
	}
	return "there is no entry " + name
}

// rootImage finds the one image in a store.
func rootImage(store string) (string, error) {
	found, err := filepath.Glob(store + "/v1/images/*/root.img")
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("root images: %q, %v", found, err)
	}
	return found[0], nil
}

// await waits until nothing is left of what is to go, for a while.
func await(left func() []string) []string {
	const looks = 500
	for range looks {
		if len(left()) == 0 {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left()
}

// awaitSome waits until there is something, for a while.
func awaitSome(there func() []string) []string {
	const looks = 500
	for range looks {
		if found := there(); len(found) > 0 {
			return found
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// devices lists loop devices that hold a file, and devices of the device mapper.
func devices() []string {
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	mapped, _ := filepath.Glob("/sys/block/dm-*")
	return append(loops, mapped...)
}
