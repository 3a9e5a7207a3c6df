package images

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func bytesContain(data []byte, s string) bool { return bytes.Contains(data, []byte(s)) }

func TestUmoci(t *testing.T) {
	l := newLab(t)
	image := l.path("layout") + ":v1"
	l.tool("umoci", "init", "--layout", l.path("layout"))
	l.tool("umoci", "new", "--image", image)
	l.tool("umoci", "insert", "--image", image, l.path("context/busybox"), "/bin/busybox")
	config := []string{"config", "--image", image, "--config.env", "TOOL=umoci", "--config.workingdir", "/work", "--config.user", "12:34"}
	for _, word := range entrypoint {
		config = append(config, "--config.entrypoint", word)
	}
	l.tool("umoci", append(config, "--config.cmd", script)...)
	l.mustSay(said("umoci"), "oci:"+image)
}

// TestActool packs an image with the appc project's own tool.
func TestActool(t *testing.T) {
	l := newLab(t)
	actool := l.path("actool")
	if out, err := exec.Command("go", "build", "-o", actool, "github.com/appc/spec/actool").CombinedOutput(); err != nil {
		t.Fatalf("build actool: %v: %s", err, out)
	}
	manifest, err := json.Marshal(map[string]any{
		"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/packed",
		"labels": []map[string]string{{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}},
		"app": map[string]any{
			"exec": append(append([]string{}, entrypoint...), script), "user": "12", "group": "34", "workingDirectory": "/work",
			"environment": []map[string]string{{"name": "TOOL", "value": "actool"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.write("image/manifest", string(manifest))
	if err := errorsOf(os.MkdirAll(l.path("image/rootfs/bin"), 0o755), os.Mkdir(l.path("image/rootfs/work"), 0o755),
		os.Link(l.path("context/busybox"), l.path("image/rootfs/bin/busybox"))); err != nil {
		t.Fatal(err)
	}
	l.tool(actool, "build", "image", "packed.aci")
	l.tool(actool, "validate", "packed.aci")
	l.mustSay(said("actool"), "packed.aci")
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// docker is the client of a daemon that lives as long as its test.
type docker struct {
	l      *lab
	client string
	socket string
}

// newDocker starts the daemon, with all of its files below the lab's folder and nothing
// done to the host's network.
func newDocker(l *lab) docker {
	l.t.Helper()
	bin, err := filepath.Abs(filepath.Join(tools, "docker/usr"))
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "sbin/dockerd")); err != nil {
		l.t.Fatalf("%v: run hack/deps.sh", err)
	}
	// Not below t.TempDir: a socket's path is short.
	run, err := os.MkdirTemp("", "docker")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(run) })
	d := docker{l, filepath.Join(bin, "bin/docker"), "unix://" + run + "/socket"}
	var log bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "sbin/dockerd"), "--data-root", l.path("docker"), "--exec-root", run+"/exec",
		"--pidfile", run+"/pid", "--host", d.socket, "--group", "root", "--config-file", "", "--storage-driver", "vfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false")
	cmd.Env = append(os.Environ(), "PATH="+bin+"/sbin:"+bin+"/bin:"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	l.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // so that it ends its containerd
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			<-ended
		}
	})
	deadline := time.After(patience)
	for d.command("version").Run() != nil {
		select {
		case err := <-ended:
			ended <- err
			l.t.Skipf("docker's daemon does not start here (what buildah writes as docker-archive is tested in its place): %v: %s", err, lastLines(log.String()))
		case <-deadline:
			l.t.Fatal("docker's daemon does not answer")
		case <-time.After(100 * time.Millisecond):
		}
	}
	return d
}

func lastLines(s string) string { return s[max(0, len(s)-1000):] }

func (d docker) command(args ...string) *exec.Cmd {
	cmd := exec.Command(d.client, append([]string{"--host", d.socket}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0", "DOCKER_CONFIG="+d.l.path("docker-config"))
	return cmd
}

// TestDocker runs what docker builds and saves.
func TestDocker(t *testing.T) {
	l := newLab(t)
	d := newDocker(l)
	l.write("context/Dockerfile", "FROM scratch\nCOPY busybox /bin/busybox\nENV TOOL=docker\nWORKDIR /work\nUSER 12:34\n"+
		`ENTRYPOINT ["`+strings.Join(entrypoint, `","`)+"\"]\nCMD "+quoted(t, script)+"\n")
	for _, args := range [][]string{
		{"build", "--quiet", "--tag", "example.com/docked:v1", l.path("context")},
		{"save", "--output", l.path("saved.tar"), "example.com/docked:v1"},
	} {
		if out, err := d.command(args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %s: %v: %s", args[0], err, out)
		}
	}
	l.mustSay(said("docker"), "docker-archive:"+l.path("saved.tar")+":example.com/docked:v1")
	l.mustSay(said("docker"), "docker-archive:"+l.path("saved.tar"))
}
