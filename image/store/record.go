package store

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
)

// recordMax bounds a record's file in bytes; a manifest has 4 MiB at most.
const recordMax = 16 << 20

// The purposes a MAC may be made for. One made for the one is void for the other.
const (
	purposeImage  = "clearrun store image v1\n"
	purposeSource = "clearrun store source v1\n"
)

// imageRecord is meta.json: what root.img beside it is.
type imageRecord struct {
	Root  rootfs.Info `json:"root"`
	Image image.Meta  `json:"image"`
	// FSVerity is root.img's fs-verity digest; nil: it has none.
	FSVerity *rootfs.Hash `json:"fsVerity,omitempty"`
}

// sourceRecord says that the distributed bytes with the digest Source hold Image.
type sourceRecord struct {
	Source image.Digest `json:"source"`
	Image  image.Digest `json:"image"`
}

// sealed is a record on disk. The MAC is over the very bytes of Record, so that
// nothing is interpreted before it is known to be ours.
type sealed struct {
	Record json.RawMessage `json:"record"`
	MAC    string          `json:"hmac-sha256"`
}

// errForged says that a record was not written with this store's key.
var errForged = errors.New("was changed, or written with another key")

func mac(key []byte, purpose string, record []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	h.Write(record)
	return h.Sum(nil)
}

// seal encodes v for the disk.
func seal(key []byte, purpose string, v any) ([]byte, error) {
	record, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed{record, hex.EncodeToString(mac(key, purpose, record))})
}

// unseal decodes into v what seal wrote, and nothing else.
func unseal(key []byte, purpose string, data []byte, v any) error {
	var s sealed
	if err := strictJSON(data, &s); err != nil {
		return fmt.Errorf("%w (%w)", errForged, err)
	}
	sum, err := hex.DecodeString(s.MAC)
	if err != nil || !hmac.Equal(sum, mac(key, purpose, s.Record)) {
		return errForged
	}
	return strictJSON(s.Record, v)
}

func strictJSON(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("data behind the record")
	}
	return nil
}
