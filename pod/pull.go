package pod

import (
	"context"

	"github.com/clearrun/clearrun/image"
)

// Pulled says what Pull has put into the store.
type Pulled struct {
	Reference string       `json:"reference"`
	Name      image.Name   `json:"name"`
	Digest    image.Digest `json:"digest"`
	Verified  string       `json:"verified"` // by whom, in words
	Bytes     uint64       `json:"bytes"`    // of the rendered root
}

// Pull is Open without running anything: the store has the image afterwards, if it may
// run at any tier.
func Pull(ctx context.Context, o Options) (Pulled, error) {
	verdict, entry, err := o.fetch(ctx)
	if err != nil {
		return Pulled{}, err
	}
	p := Pulled{o.Path, entry.Meta.Name, entry.Digest, verdict.How(), entry.Info.Size}
	return p, entry.Close()
}
