package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/ref"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/vmrun"
)

// imageCommands are the sub-commands of `clearrun image`.
func imageCommands() []command {
	return []command{
		{"pull", "verify an image and put it into the store", imagePull},
		{"list", "list the images in the store", imageList},
		{"inspect", "print all that is known of images, as JSON", imageInspect},
		{"verify", "hash all of the store anew and tell what was changed", imageVerify},
		{"export", "write an image's root as a tar", imageExport},
		{"rm", "take images out of the store", imageRemove},
		{"prune", "take out the images that nobody uses", imagePrune},
	}
}

// storedHelp says what can be written for an image in the store.
const storedHelp = `IMAGE is the name of an image in the store, a reference to a registry (docker://HOST/REPOSITORY:TAG), or a digest, of
which the first six digits do.`

// imageCommand is `clearrun image`.
func imageCommand(args []string, g globals, io stdio) (int, error) {
	return group{"image", "Keep images in the store.", imageCommands()}.run(args, g, io)
}

// storeCommand is what the commands that look after the store have in common.
type storeCommand struct {
	globals
	flags  *pflag.FlagSet
	asJSON bool
	io     stdio
}

func newStoreCommand(synopsis, text string, g globals, io stdio) *storeCommand {
	c := &storeCommand{globals: g, io: io}
	c.flags = newFlags("image "+synopsis, text, &c.globals, io)
	return c
}

// jsonFlag adds --json.
func (c *storeCommand) jsonFlag() {
	c.flags.BoolVar(&c.asJSON, "json", false, "print JSON")
}

// run parses the arguments, of which most may be names of images, opens the store, and
// does the work. A signal ends the context.
func (c *storeCommand) run(args []string, least, most int, work func(ctx context.Context, s *store.Store) (int, error)) (int, error) {
	if err := c.flags.Parse(args); err != nil {
		return vmrun.ExitFailure, err
	}
	if n := c.flags.NArg(); n < least || n > most {
		return vmrun.ExitFailure, fmt.Errorf("want %s; see clearrun image COMMAND --help", amount(least, most))
	}
	s, err := store.Open(c.storeOptions())
	if err != nil {
		return vmrun.ExitFailure, err
	}
	defer s.Close()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	return work(ctx, s)
}

func amount(least, most int) string {
	switch {
	case most == 0:
		return "no arguments"
	case most == 1:
		return "one image"
	case least == 0:
		return "any number of images"
	}
	return "at least one image"
}

// anyNumber is no bound on arguments.
const anyNumber = 1 << 20

// find gives the images in the store that the arguments name.
func (c *storeCommand) find(s *store.Store) ([]store.Item, error) {
	var all []store.Item
	for _, word := range c.flags.Args() {
		found, err := s.Find(fullReference(word))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// findOne is for those that work on one image.
func (c *storeCommand) findOne(s *store.Store, word string) (store.Item, error) {
	found, err := s.Find(fullReference(word))
	if err != nil {
		return store.Item{}, err
	}
	if len(found) > 1 {
		var digests []string
		for _, item := range found {
			digests = append(digests, item.Digest.Short())
		}
		return store.Item{}, fmt.Errorf("image %q: there are %d of that name: choose one by its digest, %s", word, len(found), strings.Join(digests, ", "))
	}
	return found[0], nil
}

// fullReference writes a reference to a registry as the store knows it; other words stay.
func fullReference(word string) string {
	r, err := ref.Parse(word)
	if err != nil || r.Transport != ref.Docker {
		return word
	}
	return r.String()
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
