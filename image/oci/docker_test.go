package oci_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/image/oci"
	"github.com/clearrun/clearrun/image/ocitest"
)

// saved is what docker save writes for an image with one layer.
func saved(t testing.TB, config []byte, layer string, more ...acitest.Entry) []byte {
	entries := []acitest.Entry{
		acitest.File("c.json", string(config)),
		acitest.File("l/layer.tar", layer),
		acitest.File("manifest.json", `[{"Config":"c.json","RepoTags":["app:v1","localhost:5000/b:v2"],"Layers":["l/layer.tar"]}]`),
	}
	return acitest.Tar(t, append(entries, more...)...)
}

func savedConfig(t testing.TB, layer []byte) []byte {
	c := ocitest.Config(v1.ImageConfig{Cmd: []string{"/x"}})
	sum := sha256.Sum256(layer)
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.Replace(string(data), `"diff_ids":null`, `"diff_ids":["sha256:`+hex.EncodeToString(sum[:])+`"]`, 1))
}

func TestDockerArchive(t *testing.T) {
	layer := layerOf(t, "etc/a", "hello").Tar
	config := savedConfig(t, layer)
	data := saved(t, config, string(layer))
	for tag, want := range map[string]image.Name{
		"": "docker.io/library/app", "app:v1": "docker.io/library/app", "docker.io/library/app:v1": "docker.io/library/app",
		"localhost:5000/b:v2": "localhost:5000/b",
	} {
		a, err := oci.ResolveDockerArchive(context.Background(), spooled(t, data), tag, t.TempDir(), image.Limits{})
		if err != nil {
			t.Fatalf("%q: %v", tag, err)
		}
		sum := sha256.Sum256(config)
		if a.Name != want || a.Digest().Hex() != hex.EncodeToString(sum[:]) {
			t.Errorf("%q: %s, %s", tag, a.Name, a.Digest())
		}
		if sigs, err := a.Signatures(context.Background()); err != nil || len(sigs.Simple)+len(sigs.Bundles) > 0 {
			t.Errorf("%q: signatures: %v, %v", tag, sigs, err)
		}
		img, err := a.Read(context.Background(), t.TempDir())
		if err != nil {
			t.Fatalf("%q: %v", tag, err)
		}
		if got, err := io.ReadAll(img.Layers()[0].Open()); err != nil || string(got) != string(layer) {
			t.Errorf("%q: %d bytes, %v", tag, len(got), err)
		}
		img.Close()
		a.Close()
	}
}

func TestDockerArchiveRefuses(t *testing.T) {
	layer := layerOf(t, "etc/a", "hello").Tar
	config := savedConfig(t, layer)
	evil := layerOf(t, "etc/a", "evil!").Tar
	for _, tc := range []struct {
		name, tag string
		data      []byte
		want      string
	}{
		{"swapped layer", "", saved(t, config, string(evil)), "diff_id"},
		{"other tag", "app:v2", saved(t, config, string(layer)), `no image "app:v2", but: app:v1`},
		{"no manifest", "", acitest.Tar(t, acitest.File("a", "")), "nothing that docker save has written"},
		{"no image", "", acitest.Tar(t, acitest.File("manifest.json", "[]")), "holds no image"},
		{"two images", "", acitest.Tar(t, acitest.File("manifest.json", `[{"RepoTags":["a"]},{"RepoTags":["b"]}]`)), "name one"},
		{"no config", "", acitest.Tar(t, acitest.File("manifest.json", `[{"Config":"c.json"}]`)), "config"},
		{"too few layers", "", acitest.Tar(t, acitest.File("c.json", string(config)), acitest.File("manifest.json", `[{"Config":"c.json"}]`)), "diff_ids"},
	} {
		a, err := oci.ResolveDockerArchive(context.Background(), spooled(t, tc.data), tc.tag, t.TempDir(), image.Limits{})
		if err == nil {
			_, err = a.Read(context.Background(), t.TempDir())
			a.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}
