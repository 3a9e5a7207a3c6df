package pod_test

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
)

// build makes a Pod of an image with the given app.
func build(t *testing.T, h *host, app string, o pod.Overrides) (*pod.Pod, error) {
	t.Helper()
	h.write("app.aci", acitest.Tar(t, acitest.Manifest("example.com/my_app.v1", app), acitest.Dir("rootfs")))
	options := h.options()
	options.InsecureNoVerify, options.Overrides = true, o
	p, err := pod.Open(context.Background(), options)
	if err == nil {
		t.Cleanup(func() { p.Close() })
	}
	return p, err
}

const fullApp = `{"exec":["/bin/app","-v"],"user":"web","group":"/srv","supplementaryGIDs":[4,5],"workingDirectory":"/srv//www/",
	"environment":[{"name":"A","value":"1"},{"name":"PATH","value":"/bin"}],"isolators":[
	{"name":"resource/memory","value":{"request":"1M","limit":"512Mi"}},
	{"name":"resource/cpu","value":{"limit":"2500m"}},
	{"name":"os/linux/no-new-privileges","value":true},
	{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_NET_ADMIN","CAP_KILL"]}},
	{"name":"os/linux/oom-score-adj","value":100}]}`

func TestMapping(t *testing.T) {
	h := newHost(t)
	caps := func(names ...string) pod.CapabilitySet {
		set, err := pod.ParseCapabilities(names...)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	image := pod.App{
		Exec: []string{"/bin/app", "-v"}, Env: []string{"PATH=/bin", "AC_APP_NAME=my_app.v1", "A=1"}, Dir: "/srv/www",
		User: "web", Group: "/srv", SupplementaryGIDs: []uint32{4, 5}, Capabilities: caps("NET_ADMIN", "KILL"), NoNewPrivileges: true,
		StopSignal: unix.SIGTERM,
	}
	for _, tc := range []struct {
		name      string
		overrides pod.Overrides
		change    func(a *pod.App)
	}{
		{"as the image says", pod.Overrides{}, func(a *pod.App) {}},
		{"arguments", pod.Overrides{Args: []string{"x", "--", "-y"}}, func(a *pod.App) { a.Exec = []string{"/bin/app", "-v", "x", "--", "-y"} }},
		{"entrypoint", pod.Overrides{Entrypoint: []string{"sh"}}, func(a *pod.App) { a.Exec = []string{"sh"} }},
		{"both", pod.Overrides{Entrypoint: []string{"sh"}, Args: []string{"-c", ""}}, func(a *pod.App) { a.Exec = []string{"sh", "-c", ""} }},
		{"environment", pod.Overrides{Env: []string{"A=2=3", "B=", "B=4"}}, func(a *pod.App) {
			a.Env = []string{"PATH=/bin", "AC_APP_NAME=my_app.v1", "A=2=3", "B=4"}
		}},
		{"folder", pod.Overrides{Dir: "/tmp/../x"}, func(a *pod.App) { a.Dir = "/x" }},
		{"user", pod.Overrides{User: "1000"}, func(a *pod.App) { a.User, a.Group, a.SupplementaryGIDs = "1000", "", nil }},
		{"user and group", pod.Overrides{User: "1000:50"}, func(a *pod.App) { a.User, a.Group, a.SupplementaryGIDs = "1000", "50", nil }},
		{"group", pod.Overrides{Group: "50"}, func(a *pod.App) { a.Group = "50" }},
		{"add", pod.Overrides{CapAdd: []string{"cap_sys_time"}}, func(a *pod.App) { a.Capabilities = caps("NET_ADMIN", "KILL", "SYS_TIME") }},
		{"drop", pod.Overrides{CapDrop: []string{"KILL", "SYS_BOOT"}}, func(a *pod.App) { a.Capabilities = caps("NET_ADMIN") }},
		{"drop all", pod.Overrides{CapDrop: []string{"ALL"}}, func(a *pod.App) { a.Capabilities = 0 }},
		{"drop all but one", pod.Overrides{CapDrop: []string{"all"}, CapAdd: []string{"CHOWN"}}, func(a *pod.App) { a.Capabilities = caps("CHOWN") }},
		{"add all but one", pod.Overrides{CapAdd: []string{"ALL"}, CapDrop: []string{"BPF"}}, func(a *pod.App) { a.Capabilities = pod.AllCapabilities() &^ caps("BPF") }},
		{"terminal", pod.Overrides{TTY: true, Stdin: true}, func(a *pod.App) { a.TTY, a.Stdin = true, true }},
		{"limits", pod.Overrides{Rlimits: []pod.Rlimit{{Resource: 7, Soft: 1, Hard: 2}}}, func(a *pod.App) {
			a.Rlimits = []pod.Rlimit{{Resource: 7, Soft: 1, Hard: 2}}
		}},
	} {
		p, err := build(t, h, fullApp, tc.overrides)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		want := image
		tc.change(&want)
		if !reflect.DeepEqual(p.App, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.name, p.App, want)
		}
		if (p.Resources != pod.Resources{MemoryBytes: 512 << 20, CPUs: 3}) {
			t.Errorf("%s: %+v", tc.name, p.Resources)
		}
	}
}

func TestDefaults(t *testing.T) {
	h := newHost(t)
	p, err := build(t, h, `{"exec":["app"],"user":"0","group":"0"}`, pod.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if p.App.Dir != "/" || p.App.NoNewPrivileges || p.Resources != (pod.Resources{}) || p.Hostname != "my-app-v1" || p.ReadOnlyRoot {
		t.Errorf("got %+v", p)
	}
	const docker = "CAP_CHOWN,CAP_DAC_OVERRIDE,CAP_FOWNER,CAP_FSETID,CAP_KILL,CAP_SETGID,CAP_SETUID,CAP_SETPCAP," +
		"CAP_NET_BIND_SERVICE,CAP_NET_RAW,CAP_SYS_CHROOT,CAP_MKNOD,CAP_AUDIT_WRITE,CAP_SETFCAP"
	if got := p.App.Capabilities.String(); got != docker {
		t.Errorf("capabilities %s, want %s", got, docker)
	}
	o := pod.Overrides{Hostname: "web-1.example", MemoryBytes: 1 << 30, CPUs: 4, ReadOnlyRoot: true}
	if p, err = build(t, h, fullApp, o); err != nil {
		t.Fatal(err)
	}
	if p.Hostname != o.Hostname || (p.Resources != pod.Resources{MemoryBytes: 1 << 30, CPUs: 4}) || !p.ReadOnlyRoot {
		t.Errorf("got %+v", p)
	}
}

func TestIsolators(t *testing.T) {
	h := newHost(t)
	for _, tc := range []struct {
		isolators string
		want      pod.Resources
		caps      string // "": the default ones
		fails     string
	}{
		{isolators: `{"name":"resource/memory","value":{"limit":"1G"}}`, want: pod.Resources{MemoryBytes: 1_000_000_000}},
		{isolators: `{"name":"resource/memory","value":{"request":"1G"}}`},
		{isolators: `{"name":"resource/memory","value":{"limit":"0"}}`, fails: "greater than 0"},
		{isolators: `{"name":"resource/memory","value":{"limit":"-1M"}}`, fails: "not a quantity"},
		{isolators: `{"name":"resource/cpu","value":{"limit":"500m"}}`, want: pod.Resources{CPUs: 1}},
		{isolators: `{"name":"resource/cpu","value":{"limit":"2"}}`, want: pod.Resources{CPUs: 2}},
		{isolators: `{"name":"resource/cpu","value":{"limit":"1E"}}`, fails: "out of range"},
		{
			isolators: `{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_MKNOD"]}}`,
			caps:      strings.Replace(pod.DefaultCapabilities().String(), "CAP_MKNOD,", "", 1),
		},
		{isolators: `{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_MKNOD"]}}`, caps: "CAP_MKNOD"},
		{isolators: `{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_FLY"]}}`, fails: `"CAP_FLY" is unknown`},
		{isolators: `{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_MKNOD"]}},
			{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_KILL"]}}`, fails: "contradict"},
	} {
		p, err := build(t, h, `{"exec":["/x"],"user":"0","group":"0","isolators":[`+tc.isolators+`]}`, pod.Overrides{})
		if tc.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%s: got %v, want %q", tc.isolators, err, tc.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.isolators, err)
			continue
		}
		if tc.caps == "" {
			tc.caps = pod.DefaultCapabilities().String()
		}
		if p.Resources != tc.want || p.App.Capabilities.String() != tc.caps {
			t.Errorf("%s: got %+v, %v", tc.isolators, p.Resources, p.App.Capabilities)
		}
	}
}

func TestBadOverrides(t *testing.T) {
	h := newHost(t)
	for _, tc := range []struct {
		app       string
		overrides pod.Overrides
		want      string
	}{
		{"", pod.Overrides{}, "no app to run"},
		{`{"user":"0","group":"0"}`, pod.Overrides{}, "no command"},
		{fullApp, pod.Overrides{Entrypoint: []string{""}}, "no command"},
		{fullApp, pod.Overrides{Args: []string{"a\x00b"}}, "NUL"},
		{fullApp, pod.Overrides{Env: []string{"A"}}, `"A" is not KEY=value`},
		{fullApp, pod.Overrides{Env: []string{"=A"}}, "not KEY=value"},
		{fullApp, pod.Overrides{Env: []string{"A=\x00"}}, "not KEY=value"},
		{fullApp, pod.Overrides{Dir: "srv"}, `"srv" is not an absolute path`},
		{fullApp, pod.Overrides{User: ":0"}, "want user"},
		{fullApp, pod.Overrides{User: "0:"}, "want user"},
		{fullApp, pod.Overrides{User: "a:b:c"}, "not a name"},
		{fullApp, pod.Overrides{Group: "a\nb"}, "not a name"},
		{fullApp, pod.Overrides{CapAdd: []string{"CAP_"}}, `"CAP_" is unknown`},
		{fullApp, pod.Overrides{CapDrop: []string{"fly"}}, `"fly" is unknown`},
		{fullApp, pod.Overrides{CPUs: -1}, "-1 CPUs"},
		{fullApp, pod.Overrides{Hostname: "a b"}, "host name"},
		{fullApp, pod.Overrides{Hostname: "-a"}, "host name"},
		{fullApp, pod.Overrides{Hostname: "a..b"}, "host name"},
		{fullApp, pod.Overrides{Hostname: strings.Repeat("a", 65)}, "longer than 64"},
	} {
		if _, err := build(t, h, tc.app, tc.overrides); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: got %v, want %q", tc.overrides, err, tc.want)
		}
	}
	if p, err := build(t, h, "", pod.Overrides{Entrypoint: []string{"/bin/sh"}}); err != nil || p.App.User != "0" {
		t.Errorf("an image without an app, and an entrypoint: %+v, %v", p, err)
	}
	if left, err := os.ReadDir(h.path("store/v1/tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
