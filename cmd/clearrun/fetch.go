package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/pod"
)

// imageHelp says what can be written for IMAGE.
const imageHelp = `IMAGE is one of
  app.aci                     an App Container Image
  oci:DIR[:REF]               an OCI image layout
  oci-archive:FILE[:REF]      one in a tar
  docker-archive:FILE[:TAG]   what docker save writes`

// fetchOptions say where and how to get an image, for all commands that look at one.
type fetchOptions struct {
	imageName string
}

func (o *fetchOptions) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.imageName, "image-name", "", "what an OCI image in a file or folder is called (default: as it says itself, or localhost/FILE)")
}

// apply puts the options into those of package pod.
func (o *fetchOptions) apply(po *pod.Options) error {
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
