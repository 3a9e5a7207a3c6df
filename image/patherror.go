package image

import (
	"errors"
	"io/fs"
)

// WithoutPath takes the path out of an error whose context names it already.
func WithoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
