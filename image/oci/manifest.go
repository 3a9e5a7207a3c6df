package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// layersMax bounds the layers of an image. Docker's own bound is 127.
const layersMax = 512

// document has the fields that tell a manifest from an index.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        json.RawMessage   `json:"config"`
	Layers        []json.RawMessage `json:"layers"`
	Manifests     []json.RawMessage `json:"manifests"`
	FSLayers      []json.RawMessage `json:"fsLayers"`
}

// checkDocument refuses what could be read as manifest and as index
// (CVE-2021-41190), and what says to be of another type than its descriptor.
func checkDocument(data []byte, mediaType string) error {
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	if doc.SchemaVersion == 1 || doc.FSLayers != nil || strings.HasPrefix(mediaType, dockerManifestV1) {
		return errors.New("is of Docker's schema 1, which no digest covers: push the image anew with a current tool")
	}
	if doc.MediaType != "" && doc.MediaType != mediaType {
		return fmt.Errorf("says to be %.80q, its descriptor %.80q", doc.MediaType, mediaType)
	}
	hasManifest, hasIndex := doc.Config != nil || doc.Layers != nil, doc.Manifests != nil
	if hasManifest && hasIndex {
		return errors.New("is manifest and index at once")
	}
	return nil
}

func parseIndex(data []byte, mediaType string) (v1.Index, error) {
	var index v1.Index
	if err := checkDocument(data, mediaType); err != nil {
		return index, fmt.Errorf("index: %w", err)
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return index, fmt.Errorf("index: %w", err)
	}
	return index, nil
}

func parseManifest(data []byte, mediaType string) (v1.Manifest, error) {
	var m v1.Manifest
	if err := checkDocument(data, mediaType); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// checkImage refuses a manifest that is not that of a container image.
func checkImage(m v1.Manifest) error {
	switch t := m.Config.MediaType; {
	case t != v1.MediaTypeImageConfig && t != dockerConfig:
		return fmt.Errorf("manifest: is no container image, but has a config of type %.80q", t)
	case len(m.Layers) > layersMax:
		return fmt.Errorf("manifest: %d layers, the limit is %d", len(m.Layers), layersMax)
	}
	for i, l := range m.Layers {
		if !isLayer(l.MediaType) {
			return fmt.Errorf("manifest: layer %d is of the unknown type %.80q", i, l.MediaType)
		}
		if _, err := DigestOf(l); err != nil {
			return fmt.Errorf("manifest: layer %d: %w", i, err)
		}
	}
	return nil
}
