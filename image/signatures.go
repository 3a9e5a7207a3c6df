package image

// Signatures is the material that came with an OCI image and may vouch for it, as it
// was found: nothing in it is verified. Package trust knows what it is worth.
type Signatures struct {
	Simple  []SimpleSigning `json:"simple,omitempty"`
	Bundles [][]byte        `json:"bundles,omitempty"` // Sigstore bundles (JSON), as distributed
}

// SimpleSigning is a signature as cosign keeps it in a manifest tagged
// sha256-<hex>.sig: each layer is a payload, its annotation
// "dev.cosignproject.cosign/signature" the signature over it.
type SimpleSigning struct {
	Payload   []byte `json:"payload"`   // the signed bytes: "simple signing" JSON
	Signature []byte `json:"signature"` // raw, not base64
}
