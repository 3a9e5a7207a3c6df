package aci

import (
	"fmt"
	"math"

	"github.com/appc/spec/schema/types"

	"github.com/clearrun/clearrun/image"
)

// dependenciesOf reads what the image builds upon.
func dependenciesOf(list types.Dependencies) ([]image.Dependency, error) {
	if len(list) > image.DependenciesMax {
		return nil, fmt.Errorf("%d dependencies: the limit is %d", len(list), image.DependenciesMax)
	}
	var deps []image.Dependency
	for _, d := range list {
		name, err := image.ParseName(d.ImageName.String())
		if err != nil {
			return nil, fmt.Errorf("dependency: %w", err)
		}
		dep := image.Dependency{Name: name}
		if d.ImageID != nil {
			if dep.ID, err = image.ParseDigest(d.ImageID.String()); err != nil {
				return nil, fmt.Errorf("dependency %s: image ID: %w", name, err)
			}
		}
		if d.Size > math.MaxInt64 {
			return nil, fmt.Errorf("dependency %s: size %d is out of range", name, d.Size)
		}
		dep.Size = int64(d.Size)
		for _, l := range d.Labels {
			dep.Labels = append(dep.Labels, image.NameValue{Name: l.Name.String(), Value: l.Value})
		}
		deps = append(deps, dep)
	}
	return deps, nil
}
