package trust_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// TestSchemaHasTheParsersFields keeps the schema for editors in step with the parser,
// which lists its fields when it sees one that it does not know.
func TestSchemaHasTheParsersFields(t *testing.T) {
	type object struct {
		AdditionalProperties any
		Properties           map[string]any
	}
	var schema struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	data, err := os.ReadFile("../docs/policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"policy":  "x: 1",
		"rule":    "rules: [{x: 1}]",
		"match":   "rules: [{match: {x: 1}}]",
		"require": "rules: [{require: {x: 1}}]",
		"allow":   "rules: [{allow: {x: 1}}]",

		"measurement": "measurement: {x: 1}",
	} {
		o := schema.object
		if what != "policy" {
			o = schema.Defs[what]
		}
		if o.AdditionalProperties != false {
			t.Errorf("%s takes unknown fields", what)
		}
		_, err := trust.ParsePolicy("f", []byte(text), pod.Vocabulary())
		want := what + `: unknown field "x": want ` + strings.Join(slices.Sorted(maps.Keys(o.Properties)), ", ")
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
