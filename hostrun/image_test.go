package hostrun_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/pod"
)

// TestChangedImageDoesNotRun changes one bit of the stored data, which the store's own
// check of the hash tree does not see, while a Pod has it open.
func TestChangedImageDoesNotRun(t *testing.T) {
	aci := setUp(t)
	p := openPod(t, aci, policyNS, pod.Overrides{Entrypoint: []string{"/bin/true"}})
	flip := func() {
		f, err := os.OpenFile(p.RootFS.Path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 1)
		at := int64(p.RootFS.Info.HashOffset - 1)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	if r := runPod(t, p, attach.Streams{}); r.code != hostrun.ExitFailure || r.err == nil || !strings.Contains(r.err.Error(), "was changed") {
		t.Errorf("exit code %d, %v", r.code, r.err)
	}
	flip()
	runPod(t, p, attach.Streams{}).want(t, 0, "")
}

func TestImageOpenForWritingDoesNotRun(t *testing.T) {
	aci := setUp(t)
	p := openPod(t, aci, policyNS, pod.Overrides{Entrypoint: []string{"/bin/true"}})
	f, err := os.OpenFile(p.RootFS.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r := runPod(t, p, attach.Streams{}); r.code != hostrun.ExitFailure || r.err == nil || !strings.Contains(r.err.Error(), "open for writing") {
		t.Errorf("exit code %d, %v", r.code, r.err)
	}
}

// TestWriterEndsTheContainer opens the image for writing while a container runs from
// it: the open must not succeed before the container has ended.
func TestWriterEndsTheContainer(t *testing.T) {
	aci := setUp(t)
	p := openPod(t, aci, policyNS, pod.Overrides{Entrypoint: []string{"/bin/sh", "-c", "echo ready; sleep 1000"}})
	opened := make(chan error, 1)
	out := &lineWriter{onLine: func(string) {
		go func() {
			f, err := os.OpenFile(p.RootFS.Path, os.O_RDWR, 0)
			if err == nil {
				f.Close()
			}
			opened <- err
		}()
	}}
	r := runPod(t, p, attach.Streams{Stdout: out, Stderr: io.Discard})
	if r.code != hostrun.ExitFailure || r.err == nil || !strings.Contains(r.err.Error(), "about to write") {
		t.Errorf("exit code %d, %v", r.code, r.err)
	}
	if err := <-opened; err != nil {
		t.Errorf("the writer: %v", err)
	}
}
