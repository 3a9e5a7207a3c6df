package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// jsonObject reads one JSON object by its exact names. encoding/json would fold case and
// take the last one of two: what was signed must not be read in two ways.
func jsonObject(data []byte, what string) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%s: want a JSON object", what)
	}
	object := make(map[string]json.RawMessage)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("%s: want a name", what)
		}
		if _, ok := object[name]; ok {
			return nil, fmt.Errorf("%s: %.40q stands there twice", what, name)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		object[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one JSON value", what)
	}
	return object, nil
}

// jsonExact is jsonObject for one that has all these names and no others.
func jsonExact(data []byte, what string, names ...string) (map[string]json.RawMessage, error) {
	object, err := jsonObject(data, what)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, ok := object[name]; !ok {
			return nil, fmt.Errorf("%s: has no %q", what, name)
		}
	}
	for name := range object {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%s: unknown field %.40q", what, name)
		}
	}
	return object, nil
}

// jsonText reads a JSON string.
func jsonText(data json.RawMessage, what string) (string, error) {
	var s *string
	if err := json.Unmarshal(data, &s); err != nil || s == nil {
		return "", fmt.Errorf("%s: want text", what)
	}
	return *s, nil
}

// jsonAnnotations reads those members of an object that are text; what else is there was
// put there by the signer for somebody else. Absent or null, it is empty.
func jsonAnnotations(data json.RawMessage, what string) (map[string]string, error) {
	if len(data) == 0 || string(bytes.TrimSpace(data)) == "null" {
		return nil, nil
	}
	object, err := jsonObject(data, what)
	if err != nil {
		return nil, err
	}
	annotations := make(map[string]string)
	for name, value := range object {
		if s, err := jsonText(value, what); err == nil {
			annotations[name] = s
		}
	}
	return annotations, nil
}
