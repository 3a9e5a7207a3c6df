package images

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestImageInUse asks for an image to be removed while it runs, and afterwards.
func TestImageInUse(t *testing.T) {
	l := newLab(t)
	image := "oci:" + l.path("layout") + ":stop"
	l.buildah("push", "--quiet", l.build("stop", trapScript), image)
	s := l.start("run", image)
	for _, command := range [][]string{{"image", "rm", "localhost/layout"}} {
		out, err := l.clearrun(command...).CombinedOutput()
		if err == nil || !bytesContain(out, "is in use") {
			t.Errorf("%s: %v: %s", command, err, out)
		}
	}
	if out, err := l.clearrun("image", "prune", "--all").CombinedOutput(); err != nil {
		t.Errorf("prune: %v: %s", err, out)
	}
	if out, err := l.clearrun("image", "list").CombinedOutput(); err != nil || !bytesContain(out, "localhost/layout") {
		t.Errorf("list: %v: %s", err, out)
	}
	if err := s.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.end(5, "got USR1\n")
	if out, err := l.clearrun("image", "rm", "localhost/layout").CombinedOutput(); err != nil {
		t.Errorf("rm: %v: %s", err, out)
	}
}

// TestInterruptedPull presses Ctrl-C once, while a registry keeps the run waiting.
func TestInterruptedPull(t *testing.T) {
	l := newLab(t)
	asked := make(chan struct{}, 16)
	r := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer r.Close()
	cmd := l.clearrun("run", "docker://"+strings.TrimPrefix(r.URL, "http://")+"/app:v1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
}
