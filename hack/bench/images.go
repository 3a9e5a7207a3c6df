package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The image of the measurement: about 100 MB, half of which does not compress.
const (
	imageFiles = 2600
	imageSeed  = 4
)

// imageLab measures what it takes to get an image and to start it again, beside what
// skopeo and umoci take for the same.
type imageLab struct {
	*lab
	registry string // host:port
	size     int64  // of the files, bytes
}

// cost is what a command, or several one after the other, took.
type cost struct {
	time time.Duration
	rss  int64 // the largest of any process, bytes
}

func (c *cost) add(d cost) {
	c.time += d.time
	c.rss = max(c.rss, d.rss)
}

// imageCosts are medians.
type imageCosts struct {
	size                int64
	pull, peerPull      cost // from a registry on this host to a root that can run
	render, peerUnpack  cost // from a layout on disk
	warm, warmSmall     cost // clearrun, of which the image is in the store, to the guest's first instruction
	skopeo, umoci, repo string
}

// images runs the measurement.
func (l *lab) images(runs int) (imageCosts, error) {
	var c imageCosts
	for name, version := range map[string]*string{"skopeo": &c.skopeo, "umoci": &c.umoci, "docker-registry": &c.repo} {
		out, err := exec.Command(name, "--version").Output()
		if err != nil {
			return c, fmt.Errorf("%s is needed, install it (hack/deps.sh): %w", name, err)
		}
		*version = strings.TrimSpace(string(bytes.SplitN(out, []byte("\n"), 2)[0]))
	}
	i := &imageLab{lab: l}
	if err := i.makeLayout(); err != nil {
		return c, fmt.Errorf("make layout: %w", err)
	}
	stop, err := i.startRegistry()
	if err != nil {
		return c, fmt.Errorf("start registry: %w", err)
	}
	defer stop()
	if err := l.tool("skopeo", "copy", "--dest-tls-verify=false", "oci:"+l.path("layout")+":v1", "docker://"+i.registry+"/bench:v1"); err != nil {
		return c, err
	}
	c.size = i.size
	return c, i.measure(runs, &c)
}

// makeLayout packs the files into an OCI layout, with umoci.
func (i *imageLab) makeLayout() error {
	root := i.path("bigroot")
	random := rand.NewChaCha8([32]byte{imageSeed})
	for n := range imageFiles {
		data := make([]byte, []int{200, 3000, 16_000, 130_000}[n%4]*(1+n%7)/4)
		random.Read(data)
		for b := range data {
			if n%8 >= 4 { // text, more or less
				data[b] = 'a' + data[b]%4
			}
		}
		dir := filepath.Join(root, fmt.Sprintf("usr/share/d%d", n%90))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("file", n)), data, 0o644); err != nil {
			return err
		}
		i.size += int64(len(data))
	}
	layout := i.path("layout")
	for _, args := range [][]string{
		{"init", "--layout", layout},
		{"new", "--image", layout + ":v1"},
		{"insert", "--image", layout + ":v1", root, "/"},
		{"config", "--image", layout + ":v1", "--config.cmd", "/bin/true"},
	} {
		if err := i.tool("umoci", args...); err != nil {
			return err
		}
	}
	return nil
}

// startRegistry starts Debian's registry on a free port of this host.
func (i *imageLab) startRegistry() (stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i.registry = listener.Addr().String()
	listener.Close()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp:\n  addr: %s\n",
		i.path("registry"), i.registry)
	if err := os.WriteFile(i.path("registry.yml"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("docker-registry", "serve", i.path("registry.yml"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		r, err := http.Get("http://" + i.registry + "/v2/")
		if err == nil {
			r.Body.Close()
			return stop, nil
		}
	}
	stop()
	return nil, errors.New("it does not answer")
}

// measure lets clearrun and its peers take turns.
func (i *imageLab) measure(runs int, c *imageCosts) error {
	exe, err := i.payloadExe()
	if err != nil {
		return err
	}
	remote := "docker://" + i.registry + "/bench:v1"
	var pull, peerPull, render, peerUnpack, warm, small []cost
	for range runs {
		if err := i.clean(); err != nil {
			return err
		}
		steps := []struct {
			to   *[]cost
			cmds [][]string
			code int
		}{
			{&pull, [][]string{i.pullArgs("store-pull", remote)}, 0},
			{&peerPull, [][]string{
				{"skopeo", "copy", "--src-tls-verify=false", remote, "oci:" + i.path("copy") + ":v1"},
				{"umoci", "raw", "unpack", "--image", i.path("copy") + ":v1", i.path("unpacked")},
			}, 0},
			{&render, [][]string{i.pullArgs("store-render", "oci:"+i.path("layout")+":v1")}, 0},
			{&peerUnpack, [][]string{{"umoci", "raw", "unpack", "--image", i.path("layout") + ":v1", i.path("unpacked2")}}, 0},
			// The guest says nothing of an app, which clearrun rightly calls a failure.
			{&warm, [][]string{{
				exe, "run", "--vm", "--insecure-no-verify", "--store", i.path("store-pull"), "--config-dir", i.path("config-images"),
				"--memory", "128M", "--pull", "never", remote,
			}}, 125},
			{&small, [][]string{append([]string{exe}, i.runArgs()...)}, 125},
		}
		for _, s := range steps {
			var sum cost
			for _, cmd := range s.cmds {
				one, err := costOf(cmd, s.code)
				if err != nil {
					return err
				}
				sum.add(one)
			}
			*s.to = append(*s.to, sum)
		}
	}
	c.pull, c.peerPull, c.render, c.peerUnpack = middle(pull), middle(peerPull), middle(render), middle(peerUnpack)
	c.warm, c.warmSmall = middle(warm), middle(small)
	return nil
}

// clean removes what the last turn has made.
func (i *imageLab) clean() error {
	var errs []error
	for _, name := range []string{"store-pull", "store-render", "copy", "unpacked", "unpacked2"} {
		errs = append(errs, os.RemoveAll(i.path(name)))
	}
	syscall.Sync() // what the disk still has to write is not to be counted
	return errors.Join(errs...)
}

func (i *imageLab) pullArgs(store, image string) []string {
	return []string{
		i.clearrun, "image", "pull", "--insecure-no-verify", "--store", i.path(store), "--config-dir", i.path("config-images"), image,
	}
}

// costOf runs a command that must end with the exit code want.
func costOf(args []string, want int) (cost, error) {
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
		return cost{}, fmt.Errorf("%s: %v, want exit code %d: %s", strings.Join(args, " "), err, want, out.Bytes())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return cost{}, errors.New("no resource usage")
	}
	return cost{took, usage.Maxrss << 10}, nil
}

// middle gives the medians of time and memory.
func middle(costs []cost) cost {
	var times, sizes []time.Duration
	for _, c := range costs {
		times = append(times, c.time)
		sizes = append(sizes, time.Duration(c.rss))
	}
	return cost{median(times), int64(median(sizes))}
}

// imageTable renders the measurement as Markdown.
func imageTable(c imageCosts) string {
	var b strings.Builder
	ms := func(c cost) string { return fmt.Sprintf("%.0f ms", float64(c.time)/milliSeconds) }
	mib := func(c cost) string { return fmt.Sprintf("%.0f MiB", float64(c.rss)/mebibyte) }
	ratio := func(a, b cost) string { return fmt.Sprintf("%.2f", float64(a.time)/float64(b.time)) }
	fmt.Fprintf(&b, "An image of %d MB in %d files, one gzip layer. Peers: %s, %s; registry on this host: %s.\n",
		c.size/1e6, imageFiles, c.skopeo, c.umoci, c.repo)
	b.WriteString("clearrun also hashes each block and waits for the disk (fsync); the peers do neither.\n\n")
	b.WriteString("| figure | clearrun | peer | ratio | peak RSS | peer's |\n|---|---|---|---|---|---|\n")
	fmt.Fprintf(&b, "| pull and render; skopeo copy, umoci unpack | %s | %s | %s | %s | %s |\n",
		ms(c.pull), ms(c.peerPull), ratio(c.pull, c.peerPull), mib(c.pull), mib(c.peerPull))
	fmt.Fprintf(&b, "| render a layout; umoci unpack | %s | %s | %s | %s | %s |\n",
		ms(c.render), ms(c.peerUnpack), ratio(c.render, c.peerUnpack), mib(c.render), mib(c.peerUnpack))
	fmt.Fprintf(&b, "| warm: start to first guest instruction and exit; an image of 2 MB | %s | %s | %s | %s | %s |\n",
		ms(c.warm), ms(c.warmSmall), ratio(c.warm, c.warmSmall), mib(c.warm), mib(c.warmSmall))
	return b.String()
}
