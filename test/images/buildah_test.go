package images

import (
	"encoding/json"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/registrytest"
)

// buildah runs it with a storage of its own.
func (l *lab) buildah(args ...string) string {
	l.t.Helper()
	return l.tool("buildah", append([]string{"--root", l.path("storage"), "--runroot", l.path("storage-run"), "--storage-driver", "vfs"}, args...)...)
}

// build makes an image with a command of its own and gives its name in buildah's storage.
func (l *lab) build(tag, cmd string) string {
	l.t.Helper()
	words, err := json.Marshal(entrypoint)
	if err != nil {
		l.t.Fatal(err)
	}
	// Cmd as it comes from a Dockerfile: buildah config would split the script.
	l.write("context/Dockerfile", "FROM scratch\nCOPY busybox /bin/busybox\nENV TOOL=buildah\nWORKDIR /work\nUSER 12:34\nSTOPSIGNAL SIGUSR1\n"+
		"ENTRYPOINT "+string(words)+"\nCMD "+quoted(l.t, cmd)+"\n")
	name := "example.com/built:" + tag
	l.buildah("build", "--quiet", "--isolation", "chroot", "--tag", name, l.path("context"))
	return name
}

func quoted(t *testing.T, word string) string {
	t.Helper()
	data, err := json.Marshal([]string{word})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBuildah(t *testing.T) {
	l := newLab(t)
	name := l.build("v1", script)
	r := registrytest.Start(t, registrytest.Options{})
	for _, to := range []string{
		"oci:" + l.path("layout") + ":v1",
		"oci-archive:" + l.path("oci.tar") + ":v1",
		"docker-archive:" + l.path("docker.tar") + ":example.com/built:v1",
		"docker://" + r.Host + "/built:v1",
	} {
		l.buildah("push", "--quiet", "--tls-verify=false", name, to)
		l.mustSay(said("buildah"), to)
	}
	l.mustSay("other arguments\n", "oci:"+l.path("layout")+":v1", "echo other arguments")
}

// TestStopSignal asks runs to end: the app gets its image's signal, or the user's.
func TestStopSignal(t *testing.T) {
	l := newLab(t)
	image := "oci:" + l.path("layout") + ":stop"
	l.buildah("push", "--quiet", l.build("stop", trapScript), image)
	for _, tt := range []struct {
		options []string
		send    os.Signal
		code    int
		stdout  string
	}{
		{nil, unix.SIGTERM, 5, "got USR1\n"},
		{[]string{"--stop-signal", "TERM"}, unix.SIGTERM, 6, "got TERM\n"},
		{[]string{"--stop-signal", "9"}, unix.SIGTERM, 137, ""},
		{nil, unix.SIGUSR1, 5, "got USR1\n"},
	} {
		s := l.start(append(append([]string{"run"}, tt.options...), image)...)
		if err := s.Process.Signal(tt.send); err != nil {
			t.Fatal(err)
		}
		s.end(tt.code, tt.stdout)
	}
	if out, err := l.clearrun("run", "--stop-signal", "SIGNONE", image).CombinedOutput(); err == nil || !bytesContain(out, `"SIGNONE" is no signal`) {
		t.Errorf("%v: %s", err, out)
	}
}
