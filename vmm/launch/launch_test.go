package launch

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestConfigRoundTrip(t *testing.T) {
	want := &Config{
		KVM: 5, Memory: 128 << 20, VCPUs: 2, Kernel: Section{FD: 4, Offset: 4096, Size: 10},
		Root: &Disk{FD: 6, Size: 4096, DataBlocks: 1, HashOffset: 4096, RootHash: []byte{1}, Salt: []byte{2}}, Control: 7,
		Ports: []uint32{1024}, Console: -1, Report: 8,
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadConfig(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          "",
		"not JSON":         "hello",
		"nothing in it":    "{}",
		"no control":       `{"KVM":5,"Kernel":{"FD":4,"Size":1}}`,
		"standard streams": `{"KVM":1,"Control":2,"Kernel":{"FD":4,"Size":1}}`,
		"endless":          strings.Repeat(" ", maxConfig+1),
	} {
		if c, err := ReadConfig(strings.NewReader(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(`{"KVM":5,"Control":7,"Kernel":{"FD":4,"Size":1}}`)
	f.Add(`{"Kernel":{"Size":-1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ReadConfig(strings.NewReader(text))
		if err == nil && (c.Kernel.Size <= 0 || c.Control <= ConfigFD || c.KVM <= ConfigFD) {
			t.Errorf("accepted %+v", c)
		}
	})
}
