package hostrun

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
)

// TestVolumeSourceRace opens a volume while somebody keeps exchanging the folder that it
// lies in for a link to another one: what is mounted is what was asked for, or nothing.
func TestVolumeSourceRace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	dir := t.TempDir()
	for _, d := range []string{"/a/b", "/evil/b"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("evil", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	var want, got unix.Stat_t
	if err := unix.Stat(dir+"/a/b", &want); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/link", unix.RENAME_EXCHANGE)
			}
		}
	}()
	opened, refused := 0, 0
	const enough, most = 50, 20_000
	for try := 0; try < most && (opened < enough || refused < enough); try++ {
		mount, err := openVolume(pod.Volume{Source: dir + "/a/b", Target: "/x"}, "")
		if err != nil {
			refused++
			continue
		}
		opened++
		if err := unix.Fstat(int(mount.Fd()), &got); err != nil || got.Ino != want.Ino {
			t.Errorf("inode %d was mounted, %v, want %d", got.Ino, err, want.Ino)
		}
		mount.Close()
	}
	close(stop)
	<-stopped
	if opened == 0 || refused == 0 {
		t.Errorf("%d opened, %d refused: there was no race", opened, refused)
	}
}
