package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/clearrun/clearrun/image"
)

// configName is that of the store's configuration, beside its key.
const configName = "store.yaml"

// configMax bounds it in bytes.
const configMax = 64 << 10

// config is what store.yaml may say.
type config struct {
	Quota string `yaml:"quota"` // such as 20G
}

// quota gives the quota in bytes; 0: there is none.
func (o Options) quota() (uint64, error) {
	if o.Quota != "" {
		n, err := image.ParseSize(o.Quota)
		if err != nil {
			return 0, fmt.Errorf("quota: %w", err)
		}
		return n, nil
	}
	path := filepath.Join(filepath.Dir(o.KeyFile), configName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, configMax))
	if err != nil {
		return 0, err
	}
	return parseConfig(path, data)
}

func parseConfig(path string, data []byte) (uint64, error) {
	var c config
	d := yaml.NewDecoder(bytes.NewReader(data), yaml.DisallowUnknownField())
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if c.Quota == "" {
		return 0, nil
	}
	n, err := image.ParseSize(c.Quota)
	if err != nil {
		return 0, fmt.Errorf("%s: quota: %w", path, err)
	}
	return n, nil
}
