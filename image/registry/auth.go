package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// authFiles lists where credentials may lie: what the user names, else the files of
// podman (containers-auth.json(5)), then docker's.
func (o Options) authFiles() []string {
	if o.AuthFile != "" {
		return []string{o.AuthFile}
	}
	if file := os.Getenv("REGISTRY_AUTH_FILE"); file != "" {
		return []string{file}
	}
	var list []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		list = append(list, filepath.Join(dir, "containers/auth.json"))
	} else {
		list = append(list, fmt.Sprintf("/run/containers/%d/auth.json", os.Getuid()))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		list = append(list, filepath.Join(dir, "containers/auth.json"))
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return append(list, filepath.Join(dir, "config.json"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		list = append(list, filepath.Join(home, ".docker/config.json"))
	}
	return list
}

// credentialFunc looks credentials up for one endpoint alone: no other host, such as one
// that a registry redirects to, gets any.
func (o Options) credentialFunc(e endpoint) (auth.CredentialFunc, error) {
	var stores []credentials.Store
	for _, file := range o.authFiles() {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && o.AuthFile == "" {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		store, err := credentials.NewStore(file, credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("credentials: %s: %w", file, err)
		}
		stores = append(stores, store)
	}
	keys := credentialKeys(e)
	return func(ctx context.Context, hostport string) (auth.Credential, error) {
		if hostport != dialHost(e.host) {
			return auth.EmptyCredential, nil
		}
		for _, s := range stores {
			for _, key := range keys {
				c, err := s.Get(ctx, key)
				if err != nil {
					return auth.EmptyCredential, fmt.Errorf("credentials for %s: %w", key, err)
				}
				if c != auth.EmptyCredential {
					return c, nil
				}
			}
		}
		return auth.EmptyCredential, nil
	}, nil
}

// credentialKeys are what an entry for the endpoint may be called: by podman, any part
// of the repository's path, the longest first; by docker, the host, with a name of its
// own for Docker Hub.
func credentialKeys(e endpoint) []string {
	var keys []string
	for p := e.String(); p != "." && p != e.host; p = filepath.Dir(p) {
		keys = append(keys, p)
	}
	keys = append(keys, e.host)
	if key := credentials.ServerAddressFromRegistry(e.host); key != e.host {
		keys = append(keys, key)
	}
	return keys
}
