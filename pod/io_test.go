package pod

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/trust"
)

func TestParseDeviceLimit(t *testing.T) {
	for _, tt := range []struct {
		kind IOKind
		in   string
		want DeviceLimit
		err  string
	}{
		{ReadBytes, "/dev/sda:1m", DeviceLimit{Path: "/dev/sda", Kind: ReadBytes, Rate: 1 << 20}, ""},
		{WriteBytes, "/dev/disk/by-path/pci-0:1:512", DeviceLimit{Path: "/dev/disk/by-path/pci-0:1", Kind: WriteBytes, Rate: 512}, ""},
		{ReadOps, "/dev/sda:100", DeviceLimit{Path: "/dev/sda", Kind: ReadOps, Rate: 100}, ""},
		{WriteOps, "/dev/sda:1m", DeviceLimit{}, "not a number of operations"},
		{WriteOps, "/dev/sda:-1", DeviceLimit{}, "not a number of operations"},
		{WriteOps, "/dev/sda:4294967295", DeviceLimit{}, "not a number of operations"},
		{ReadBytes, "/dev/sda:fast", DeviceLimit{}, "fast"},
		{ReadBytes, "/dev/sda:0", DeviceLimit{}, "lets nothing through"},
		{ReadOps, "/dev/sda:1", DeviceLimit{}, "lets nothing through"},
		{ReadBytes, "/dev/sda", DeviceLimit{}, "such as /dev/sda:10m"},
		{ReadOps, "sda:1", DeviceLimit{}, "such as /dev/sda:100"},
		{ReadOps, "", DeviceLimit{}, "such as"},
	} {
		got, err := ParseDeviceLimit(tt.kind, tt.in)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || err == nil && got != tt.want {
			t.Errorf("%s %q: %+v, %v; want %+v, %q", tt.kind, tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestLimitIO(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	of := func(path string) []DeviceLimit { return []DeviceLimit{{Path: path, Kind: ReadOps, Rate: 1}} }
	for _, tt := range []struct {
		name string
		iso  isolation
		o    Overrides
		tier trust.Tier
		want *IOLimits
		err  string
	}{
		{"nothing asked for", isolation{}, Overrides{}, trust.TierNS, nil, ""},
		{"by the image", isolation{ioBytes: 1, ioOps: 2}, Overrides{}, trust.TierNS, &IOLimits{BytesPerSecond: 1, OpsPerSecond: 2}, ""},
		{"at tier host", isolation{ioBytes: 1}, Overrides{IOWeight: 10}, trust.TierHost, &IOLimits{BytesPerSecond: 1, Weight: 10}, ""},
		{"by the image in a VM", isolation{ioBytes: 1, ioOps: 2}, Overrides{}, trust.TierVM, nil, ""},
		{"in a VM", isolation{}, Overrides{DeviceLimits: of(file)}, trust.TierVM, nil, "--ns"},
		{"weight in a VM", isolation{}, Overrides{IOWeight: 100}, trust.TierVM, nil, "--ns"},
		{"light", isolation{}, Overrides{IOWeight: 9}, trust.TierNS, nil, "10 to 1000"},
		{"heavy", isolation{}, Overrides{IOWeight: 1001}, trust.TierNS, nil, "10 to 1000"},
		{"negative", isolation{}, Overrides{IOWeight: -1}, trust.TierNS, nil, "10 to 1000"},
		{"a file", isolation{}, Overrides{DeviceLimits: of(file)}, trust.TierNS, nil, "not a block device"},
		{"a character device", isolation{}, Overrides{DeviceLimits: of("/dev/null")}, trust.TierNS, nil, "not a block device"},
		{"missing", isolation{}, Overrides{DeviceLimits: of(file + "x")}, trust.TierNS, nil, "no such file"},
	} {
		got, err := limitIO(tt.iso, tt.o, tt.tier)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || err == nil && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v, %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// TestIOIsolators reads them as the appc spec has them (ace.md, resource/block-bandwidth).
func TestIOIsolators(t *testing.T) {
	isolators := []image.Isolator{
		{Name: isolatorIOBytes, Value: []byte(`{"default":true,"limit":"2M"}`)},
		{Name: isolatorIOOps, Value: []byte(`{"default":true,"limit":"1000"}`)},
	}
	iso, err := isolate(isolators, 0)
	if err != nil || iso.ioBytes != 2_000_000 || iso.ioOps != 1000 {
		t.Fatalf("%+v, %v", iso, err)
	}
	for _, tt := range []struct {
		io   *IOLimits
		want EnforcementState
	}{
		{nil, Unenforced}, // a VM
		{&IOLimits{BytesPerSecond: 2_000_000, OpsPerSecond: 1000}, Adjusted},
	} {
		p := &Pod{Resources: Resources{IO: tt.io}}
		for _, e := range p.enforcement(isolators, iso) {
			if e.State != tt.want || e.Detail == "" {
				t.Errorf("%+v, want %s", e, tt.want)
			}
		}
		if err := (&Pod{Enforcement: p.enforcement(isolators, iso)}).unenforced(); (err == nil) != (tt.want == Adjusted) {
			t.Errorf("--strict: %v", err)
		}
	}
	if _, err := isolate([]image.Isolator{{Name: isolatorIOOps, Value: []byte(`{"default":true,"limit":"0"}`)}}, 0); err == nil {
		t.Error("a limit of 0 was accepted")
	}
}
