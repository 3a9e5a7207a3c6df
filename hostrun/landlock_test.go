package hostrun_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/pod"
)

// TestLandlockKeepsFilesAway hands an app a directory of the host's. With it, namespaces
// are no wall: an app that Landlock lets have files outside of its root opens one.
func TestLandlockKeepsFilesAway(t *testing.T) {
	if hostrun.Landlock() == 0 {
		t.Skip("this kernel has no Landlock")
	}
	dir, secrets := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, "secret"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	host, err := os.Open(secrets)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return // the test is over
			}
			_, _, _ = conn.WriteMsgUnix([]byte{0}, unix.UnixRights(int(host.Fd())), nil)
			conn.Close()
		}
	}()
	volumes := []pod.Volume{{Source: dir, Target: "/handed"}}
	run(t, pod.Overrides{Volumes: volumes}, "", "/bin/probe", "handed-descriptor").want(t, 0, "refused\n")
	run(t, pod.Overrides{Volumes: volumes, CapAdd: []string{"SYS_ADMIN"}}, "", "/bin/probe", "handed-descriptor").want(t, 0, "reached\n")
}

func TestLandlockKeepsAbstractSocketsAway(t *testing.T) {
	const scopes = 6
	if hostrun.Landlock() < scopes {
		t.Skip("this kernel's Landlock has no scopes")
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@clearrun-escape-test", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, caps := range [][]string{nil, {"SYS_ADMIN"}} {
		run(t, pod.Overrides{Network: "host", CapAdd: caps}, "", "/bin/probe", "abstract-socket").want(t, 0, "refused\n")
	}
}

// TestLandlockLetsAppsWork does what its rules are about, inside the root.
func TestLandlockLetsAppsWork(t *testing.T) {
	volume := t.TempDir()
	shell(t, pod.Overrides{Volumes: []pod.Volume{{Source: volume, Target: "/data"}}}, `set -e
mkdir /a /b; echo x >/a/f; ln /a/f /b/g; ln -s f /a/l; cat /a/l; busybox mv /a/f /b/f; : >/b/f; rm -r /a /b
mkdir /data/a /data/b; echo y >/data/a/f; busybox mv /data/a/f /data/b/f; cat /data/b/f
busybox mkfifo /tmp.fifo; echo z >/dev/shm/z; cat /dev/shm/z; cat </dev/null; echo w | cat /dev/stdin
sleep 100 & kill $!; /bin/busybox true`).want(t, 0, "x\ny\nz\nw\n")
	shell(t, pod.Overrides{CapAdd: []string{"SYS_ADMIN"}}, "mkdir /m; mount -t tmpfs x /m && echo mounted").want(t, 0, "mounted\n")
}
