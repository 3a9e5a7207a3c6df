package pod

import "testing"

// TestFramesOnSharedNetworks says who may send frames of its own to its neighbours: whoever
// the user lets.
func TestFramesOnSharedNetworks(t *testing.T) {
	frames, err := ParseCapabilities("NET_RAW", "NET_ADMIN")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		network string
		add     []string
		want    string
	}{
		{"none", nil, "CAP_NET_RAW"},
		{"host", nil, "CAP_NET_RAW"},
		{"cni:web", nil, ""},
		{"cni:web", []string{"NET_RAW"}, "CAP_NET_RAW"},
		{"cni:web", []string{"NET_ADMIN"}, "CAP_NET_ADMIN"},
		{"user", nil, ""},
	} {
		o := Overrides{Network: tt.network, CapAdd: tt.add}
		set, err := changeCapabilities(DefaultCapabilities(), o)
		if err != nil {
			t.Fatal(err)
		}
		p := &Pod{Network: Network(tt.network), App: App{Capabilities: set}}
		if err := p.cutFrames(o); err != nil || (p.App.Capabilities&frames).String() != tt.want || p.App.Capabilities&^frames != DefaultCapabilities()&^frames {
			t.Errorf("%s with %q: %v, %v; want %q", tt.network, tt.add, p.App.Capabilities, err, tt.want)
		}
	}
}
