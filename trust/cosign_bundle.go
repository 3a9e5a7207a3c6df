package trust

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/image"
)

// What a bundle and its statement say that they are.
const (
	bundleV03       = "application/vnd.dev.sigstore.bundle.v0.3+json"
	bundleV03Old    = "application/vnd.dev.sigstore.bundle+json;version=0.3"
	inTotoType      = "application/vnd.in-toto+json"
	statementV1     = "https://in-toto.io/Statement/v1"
	signPredicate   = "https://sigstore.dev/cosign/sign/v1"
	statementPrefix = "DSSEv1"
)

// envelope is a DSSE envelope (secure-systems-lab/dsse, envelope.md) with one signature.
type envelope struct {
	kind      string // payloadType
	payload   []byte
	signature []byte
	hint      string // of the key; nobody vouches for it
}

// signed is what the signature is over: the pre-authentication encoding (dsse,
// protocol.md).
func (e envelope) signed() []byte {
	return fmt.Appendf(nil, "%s %d %s %d %s", statementPrefix, len(e.kind), e.kind, len(e.payload), e.payload)
}

// parseBundle takes the envelope out of a Sigstore bundle that a key has signed. Proofs
// of transparency logs are not looked at: they are no condition for a key.
func parseBundle(data []byte) (envelope, error) {
	bundle, err := jsonObject(data, "bundle")
	if err != nil {
		return envelope{}, err
	}
	media, err := jsonText(bundle["mediaType"], "bundle: mediaType")
	if err != nil {
		return envelope{}, err
	}
	if media != bundleV03 && media != bundleV03Old {
		return envelope{}, fmt.Errorf("bundle of type %.80q is not supported: want v0.3", media)
	}
	material, err := jsonObject(bundle["verificationMaterial"], "verificationMaterial")
	if err != nil {
		return envelope{}, err
	}
	if material["certificate"] != nil || material["x509CertificateChain"] != nil {
		return envelope{}, errors.New("keyless signatures (by certificate) are not supported: sign with a key")
	}
	key, err := jsonObject(material["publicKey"], "publicKey")
	if err != nil {
		return envelope{}, err
	}
	if bundle["messageSignature"] != nil {
		return envelope{}, errors.New("signatures of blobs are not supported: sign the image with cosign sign")
	}
	e, err := parseEnvelope(bundle["dsseEnvelope"])
	if hint := key["hint"]; hint != nil && err == nil {
		e.hint, err = jsonText(hint, "hint")
	}
	return e, err
}

func parseEnvelope(data []byte) (envelope, error) {
	object, err := jsonObject(data, "dsseEnvelope")
	if err != nil {
		return envelope{}, err
	}
	var e envelope
	if e.kind, err = jsonText(object["payloadType"], "payloadType"); err != nil {
		return envelope{}, err
	}
	if e.kind != inTotoType {
		return envelope{}, fmt.Errorf("payloadType is %.60q, want %q", e.kind, inTotoType)
	}
	if e.payload, err = jsonBytes(object["payload"], "payload"); err != nil {
		return envelope{}, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(object["signatures"], &list); err != nil || len(list) != 1 {
		return envelope{}, errors.New("signatures: want one")
	}
	signature, err := jsonObject(list[0], "signature")
	if err != nil {
		return envelope{}, err
	}
	e.signature, err = jsonBytes(signature["sig"], "sig")
	return e, err
}

func jsonBytes(data json.RawMessage, what string) ([]byte, error) {
	s, err := jsonText(data, what)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%s: not base64", what)
	}
	return b, nil
}

// parseStatement reads an in-toto statement (attestation spec v1) whose signature was
// found good. Other predicates than cosign's own say something about an image, not that
// it may run.
func parseStatement(data []byte) (claim, error) {
	object, err := jsonObject(data, "statement")
	if err != nil {
		return claim{}, err
	}
	for field, want := range map[string]string{"_type": statementV1, "predicateType": signPredicate} {
		got, err := jsonText(object[field], "statement: "+field)
		if err != nil {
			return claim{}, err
		}
		if got != want {
			return claim{}, fmt.Errorf("statement: %s is %.80q, want %q", field, got, want)
		}
	}
	var list []json.RawMessage
	if err := json.Unmarshal(object["subject"], &list); err != nil || len(list) != 1 {
		return claim{}, errors.New("statement: want one subject")
	}
	subject, err := jsonObject(list[0], "subject")
	if err != nil {
		return claim{}, err
	}
	var c claim
	if c.digests, err = subjectDigests(subject["digest"]); err != nil {
		return claim{}, err
	}
	c.annotations, err = jsonAnnotations(subject["annotations"], "annotations")
	return c, err
}

// subjectDigests reads the digests of a subject. All that clearrun knows are kept; each
// names the same image.
func subjectDigests(data json.RawMessage) ([]image.Digest, error) {
	object, err := jsonObject(data, "digest")
	if err != nil {
		return nil, err
	}
	var list []image.Digest
	for algorithm, value := range object {
		if image.Algorithm(algorithm).Size() == 0 {
			continue
		}
		text, err := jsonText(value, "digest")
		if err != nil {
			return nil, err
		}
		d, err := image.ParseDigest(algorithm + ":" + text)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	if len(list) == 0 {
		return nil, errors.New("subject: no digest by sha256 or sha512")
	}
	slices.SortFunc(list, func(a, b image.Digest) int { return strings.Compare(a.String(), b.String()) })
	return list, nil
}
