package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/pod"
)

// imageHelp says what can be written for IMAGE.
const imageHelp = `IMAGE is one of
  app.aci                                   an App Container Image
  oci:DIR[:REF]                             an OCI image layout
  oci-archive:FILE[:REF]                    one in a tar
  docker-archive:FILE[:TAG]                 what docker save writes
  docker://[HOST/]REPOSITORY[:TAG][@DIGEST] in a registry
  appc:NAME[:VERSION][,LABEL=VALUE...]      an App Container Image that its name leads to`

// fetchOptions say where and how to get an image, for all commands that look at one.
type fetchOptions struct {
	imageName string
	maxSize   string
	maxFiles  int
	maxDepth  int
	maxRatio  int
}

func (o *fetchOptions) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.imageName, "image-name", "", "what an OCI image in a file or folder is called (default: as it says itself, or localhost/FILE)")
	def := image.DefaultLimits()
	f.StringVar(&o.maxSize, "max-image-size", "", fmt.Sprintf("refuse an image that unpacks to more, such as 64G (default %dG)", def.Bytes>>30))
	f.IntVar(&o.maxFiles, "max-image-files", 0, fmt.Sprintf("refuse an image of more files (default %d)", def.Entries))
	f.IntVar(&o.maxDepth, "max-image-depth", 0, fmt.Sprintf("refuse an image whose folders nest deeper (default %d)", def.Depth))
	f.IntVar(&o.maxRatio, "max-image-ratio", 0, fmt.Sprintf("refuse an archive that unpacks to more than N times its size (default %d)", def.Ratio))
}

// limits are the defaults as far as no option changes them.
func (o *fetchOptions) limits() (image.Limits, error) {
	l := image.DefaultLimits()
	if o.maxSize != "" {
		size, err := pod.ParseSize(o.maxSize)
		if err != nil {
			return l, fmt.Errorf("--max-image-size: %w", err)
		}
		if size == 0 || size > math.MaxInt64 {
			return l, fmt.Errorf("--max-image-size %s: is out of range", o.maxSize)
		}
		l.Bytes = int64(size)
	}
	if o.maxFiles < 0 || o.maxDepth < 0 || o.maxRatio < 0 {
		return l, errors.New("--max-image-files, -depth and -ratio: want a number greater than 0")
	}
	l.Entries = cmp.Or(o.maxFiles, l.Entries)
	l.Depth = cmp.Or(o.maxDepth, l.Depth)
	l.Ratio = cmp.Or(int64(o.maxRatio), l.Ratio)
	return l, nil
}

// apply puts the options into those of package pod.
func (o *fetchOptions) apply(po *pod.Options) error {
	var err error
	if po.Limits, err = o.limits(); err != nil {
		return err
	}
	if o.imageName == "" {
		return nil
	}
	name, err := image.ParseName(o.imageName)
	if err != nil {
		return fmt.Errorf("--image-name: %w", err)
	}
	po.Name = name
	return nil
}
