package bootlab

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/vmm/launch"
)

const ms = 1_000_000

// boot is a run whose kernel takes that many milliseconds and instructions.
func boot(kernel int64, instructions uint64) Run {
	return Run{Report: launch.Report{
		Outcome: launch.PoweredOff, Host: "PVM", Instructions: instructions + 5, Ended: (10 + kernel) * ms,
		Setup: []launch.Step{{Name: "process start", Nanoseconds: 3 * ms}, {Name: "KVM set-up", Nanoseconds: 5 * ms}},
		Marks: []launch.Mark{
			{Mark: launch.MarkEntry, Nanoseconds: 5 * ms},
			{Mark: launch.MarkInit, Nanoseconds: (5 + kernel) * ms, Instructions: instructions},
			{Mark: 0x77, Nanoseconds: (9 + kernel) * ms, Instructions: instructions + 5},
		},
		Exits: map[string]uint64{"io": 3}, Devices: map[string]uint64{"stop-watch": 2}, KVM: map[string]uint64{"vcpu.exits": 9},
		Copied: 10, RSS: 5 << 20, GuestRSS: 3 << 20, CPUTime: 1e9,
	}, Initcalls: []Initcall{{"acpi_init", 6 * ms, 2 * ms, 7}, {"pci_init", 8 * ms, 4 * ms, 9}}}
}

var setting = Setting{Host: "PVM", Kernel: "clearrun's own", Memory: 128 << 20, CPUs: 1, Until: "exit"}

func TestPercentile(t *testing.T) {
	values := []int64{1, 2, 3, 4, 5}
	for p, want := range map[int]int64{1: 1, 20: 1, 21: 2, 50: 3, 99: 5, 100: 5} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile %d is %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 {
		t.Error("nothing has a median")
	}
}

func TestTable(t *testing.T) {
	r := Gather(setting, []Run{boot(30, 100), boot(10, 101), boot(20, 102)})
	table := r.Table()
	for _, want := range []string{
		"process start               3.0        3.0              0  ####",
		"KVM set-up                  2.0        2.0              0",
		"kernel, to PID 1           20.0       30.0            101",
		"to mark 0x77                4.0        4.0              5",
		"power-off                   1.0        1.0              0",
		"all                        30.0\n",
		"2 initcalls, the longest\npci_init                    4.0        4.0              9\nacpi_init",
		"exits: io                                   3",
		"device: stop-watch                          2",
		"guest pages touched                       768",
		"monitor RSS without guest, KiB           2048",
		"runs                                        3",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no line %q in\n%s", want, table)
		}
	}
	// Each bar starts where the one before it ended.
	lines := strings.Split(table, "\n")
	if n := strings.Count(lines[3], "#") + strings.Index(lines[3], "#"); n != strings.Index(lines[4], "#") {
		t.Errorf("a bar ends at %d, the next one begins elsewhere:\n%s", n, table)
	}
}

// TestDifferentRuns: a guest that marks differently is shown all the same.
func TestDifferentRuns(t *testing.T) {
	short := boot(10, 100)
	short.Marks, short.Exits = short.Marks[:1], map[string]uint64{"mmio": 1}
	r := Gather(setting, []Run{short, boot(20, 100)})
	var names []string
	for _, p := range r.Phases {
		names = append(names, p.Name)
	}
	want := []string{"process start", "KVM set-up", "power-off", "kernel, to PID 1", "to mark 0x77"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("phases %q, want %q", names, want)
	}
	if s := r.Counts["exits: io"]; s.Min != 0 || s.Max != 3 {
		t.Errorf("exits that one run did not have: %+v", s)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	want := Gather(setting, []Run{boot(10, 100), boot(20, 102)})
	want.Beside = []Comparison{{What: "a start", Peers: []Peer{{"clearrun", []int64{1, 2}}, {"qemu-microvm", []int64{3, 4}}}}}
	var b bytes.Buffer
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v\nwrote %+v", got, want)
	}
	for text, says := range map[string]string{
		"": "not a result", "[]": "not a result", "{}": "version 0", `{"Version":1}`: "without runs", `{"Version":99,"Runs":[{}]}`: "measure again",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

func TestComparisonTable(t *testing.T) {
	c := Comparison{What: "a start", Peers: []Peer{
		{"clearrun", []int64{8 * ms, 9 * ms, 10 * ms, 11 * ms}},
		{"qemu-microvm", []int64{36 * ms, 38 * ms, 40 * ms, 41 * ms}},
		{"sibling", []int64{8 * ms, 10 * ms, 9 * ms, 12 * ms}},
		{"once", []int64{ms}},
	}}
	table := c.Table()
	for _, want := range []string{
		"a start\n", "clearrun                    9.0       11.0    1.00", "qemu-microvm               38.0       41.0    4.22  slower (p=0.029)",
		"sibling                     9.0       12.0    1.00  no difference but noise", "once                        1.0        1.0    0.11  too few runs",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no line %q in\n%s", want, table)
		}
	}
}

// TestQEMU boots the payload in the peer itself.
func TestQEMU(t *testing.T) {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		t.Skip(err)
	}
	if _, err := CheckQEMU(); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(path, Payload(), 0o644); err != nil {
		t.Fatal(err)
	}
	if took, err := TimeQEMU(t.Context(), path, 128<<20); err != nil || took <= 0 {
		t.Errorf("%v, %v", took, err)
	}
	if err := os.WriteFile(path, []byte("no kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	if took, err := TimeQEMU(t.Context(), path, 128<<20); err == nil {
		t.Errorf("no kernel, and it took %v", took)
	}
}

func TestInitcalls(t *testing.T) {
	c := Initcalls{Symbol: func(addr uint64) string {
		if addr == 0xffffffff81000042 {
			return "pci_init"
		}
		return "?"
	}}
	at := func(n int64) launch.Instant { return launch.Instant{Nanoseconds: n, Instructions: uint64(n) * 10} }
	for i, text := range []string{
		"Linux version 6.12.0",
		"[    0.012345] calling  acpi_init+0x0/0x350 @ 1",
		"ACPI: a line of its own",
		"[    0.022345] initcall acpi_init+0x0/0x350 returned 0 after 9765 usecs\r",
		"calling  0xffffffff81000042 @ 1",
		"calling  virtio_init+0x0/0x10 [virtio] @ 77",
		"initcall 0xffffffff81000042 returned -19 after 3 usecs",
		"initcall virtio_init+0x0/0x10 [virtio] returned 0 after 5 usecs",
		"initcall never_called+0x0/0x10 returned 0 after 5 usecs",
		"calling  <script>+0x0/0x1 @ 1",
	} {
		n := int64(i) * 100
		c.Line(launch.Line{First: at(n), Last: at(n + 50), Text: []byte(text)})
	}
	want := []Initcall{{"acpi_init", 150, 150, 1500}, {"pci_init", 450, 150, 1500}, {"virtio_init", 550, 150, 1500}}
	if got := c.Take(); !reflect.DeepEqual(got, want) {
		t.Errorf("initcalls %+v, want %+v", got, want)
	}
	if got := c.Take(); got != nil {
		t.Errorf("a new run begins with %+v", got)
	}
}

func FuzzInitcalls(f *testing.F) {
	f.Add([]byte("calling  acpi_init+0x0/0x350 @ 1\ninitcall acpi_init+0x0/0x350 returned 0 after 9765 usecs\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Initcalls{}
		for _, text := range bytes.Split(data, []byte("\n")) {
			c.Line(launch.Line{Text: text})
		}
		for _, i := range c.Take() {
			if strings.ContainsFunc(i.Name, func(r rune) bool { return r < '.' || r > 'z' }) {
				t.Errorf("an initcall is called %q", i.Name)
			}
		}
	})
}
