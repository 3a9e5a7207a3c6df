package pod_test

import (
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/ocitest"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// TestReplayedTag has a registry serve an older image, signed as well by the real cosign, under the tag
// of the newer one. The signature alone does not keep it out; a rule or a digest does.
func TestReplayedTag(t *testing.T) {
	h, r := cosignHost(t)
	l, reference := ocitest.New(t), "docker://"+r.Host+"/app:stable"
	serve := func(version string, d v1.Descriptor) {
		l.Tag(d, version)
		r.Push("oci:"+l.Dir+":"+version, "app:stable", "--preserve-digests")
	}
	release := func(version string) v1.Descriptor {
		labels := map[string]string{"org.opencontainers.image.version": version}
		d := l.Image(ocitest.Config(v1.ImageConfig{Entrypoint: []string{"/x"}, Labels: labels}), ocitest.Layer{Tar: acitest.Tar(t, acitest.File("x", version))})
		serve(version, d)
		cosign(t, h.dir, "sign", "--yes", "--key", "cosign.key", "--tlog-upload=false", "--allow-http-registry", r.Host+"/app@"+string(d.Digest))
		return d
	}
	under := func(rule string) func(*pod.Options) {
		p := policy(t, rule)
		return func(o *pod.Options) { o.Policy = p }
	}
	always := h.pulling(pod.PullAlways)
	atLeast2 := under("require: {signers: keyring, minVersion: 2.0.0}")
	older := release("1.0.0")
	h.mustOpen("the first release", reference, older, always)
	newer := release("2.0.0")
	h.mustOpen("the second one", reference, newer, always)
	h.mustOpen("the second one, by minVersion", reference, newer, always, atLeast2)

	serve("1.0.0", older)
	h.mustOpen("replayed, and nothing is against it", reference, older, always)
	h.mustRefuse("replayed against minVersion", reference, "requires version 2.0.0 or later; found: version 1.0.0", always, atLeast2)
	h.mustRefuse("from the store as well", reference, "requires version 2.0.0 or later", atLeast2)
	h.mustRefuse("a signature without a date", reference, "without a date", always, under("require: {signers: keyring, notOlderThan: 1d}"))
	h.mustOpen("the digest in the reference", reference+"@"+string(newer.Digest), newer, always)
	pinned := func(o *pod.Options) {
		text := "rules: [{name: pinned, match: {digest: " + string(newer.Digest) + "}, require: {signers: keyring}}]"
		var err error
		if o.Policy, err = trust.ParsePolicy("policy.yaml", []byte(text), pod.Vocabulary()); err != nil {
			t.Fatal(err)
		}
	}
	h.mustRefuse("the digest in the rule", reference, "no rule of the policy", always, pinned)
}
