package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/vmrun"
)

// imageList is `clearrun image list`.
func imageList(args []string, g globals, io stdio) (int, error) {
	c := newStoreCommand("list [--json] [IMAGE...]", "List the images in the store.\n"+storedHelp, g, io)
	c.jsonFlag()
	return c.run(args, 0, anyNumber, func(_ context.Context, s *store.Store) (int, error) {
		items, err := s.List()
		if c.flags.NArg() > 0 {
			items, err = c.find(s)
		}
		if err != nil {
			return vmrun.ExitFailure, err
		}
		if c.asJSON {
			return 0, printJSON(io.out, append([]store.Item{}, items...)) // an empty list, not null
		}
		return 0, printItems(io, items)
	})
}

func printItems(io stdio, items []store.Item) error {
	w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tDIGEST\tSIZE\tLAST USED\tSTATE")
	for _, item := range items {
		version := "-"
		if item.Meta != nil {
			if v, ok := item.Meta.Label("version"); ok {
				version = v
			}
		}
		name, state := string(item.Name), "idle"
		switch {
		case item.Problem != "":
			state = "DAMAGED: " + item.Problem
		case item.InUse:
			state = "in use"
		}
		if name == "" {
			name = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", name, version, item.Digest.Short(), image.AboutSize(item.Size),
			item.Used.Local().Format(time.DateTime), state)
		for _, r := range item.References {
			fmt.Fprintf(w, "  %s\n", r)
		}
	}
	return w.Flush()
}

// imageInspect is `clearrun image inspect`.
func imageInspect(args []string, g globals, io stdio) (int, error) {
	c := newStoreCommand("inspect IMAGE...", "Print all that the store knows of images, as a JSON list.\n"+storedHelp, g, io)
	c.jsonFlag() // it always does
	return c.run(args, 1, anyNumber, func(_ context.Context, s *store.Store) (int, error) {
		items, err := c.find(s)
		if err != nil {
			return vmrun.ExitFailure, err
		}
		return 0, printJSON(io.out, items)
	})
}

// removal is what `clearrun image rm` and `prune` say in JSON.
type removal struct {
	Removed    []image.Digest `json:"removed"`
	References []string       `json:"references,omitempty"` // forgotten, while their image stays
	Bytes      uint64         `json:"bytes"`                // freed
}

// imageRemove is `clearrun image rm`.
func imageRemove(args []string, g globals, io stdio) (int, error) {
	c := newStoreCommand("rm [--json] IMAGE...",
		"Take images out of the store. What runs keeps its image. Of an image that several references mean, one named by\n"+
			"its reference loses that alone.\n"+storedHelp, g, io)
	c.jsonFlag()
	return c.run(args, 1, anyNumber, func(_ context.Context, s *store.Store) (int, error) {
		done := removal{Removed: []image.Digest{}}
		var errs []error
		for _, word := range c.flags.Args() {
			errs = append(errs, c.remove(s, word, &done))
		}
		if err := c.report(done); err != nil {
			return vmrun.ExitFailure, err
		}
		if err := errors.Join(errs...); err != nil {
			return vmrun.ExitFailure, err
		}
		return 0, nil
	})
}

func (c *storeCommand) remove(s *store.Store, word string, done *removal) error {
	item, err := c.findOne(s, word)
	if err != nil {
		return err
	}
	if full := fullReference(word); len(item.References) > 1 && slices.Contains(item.References, full) {
		done.References = append(done.References, full)
		return s.RemoveReference(full)
	}
	err = s.Remove(item.Digest)
	if errors.Is(err, store.ErrInUse) {
		return fmt.Errorf("%w: end it first (clearrun image list shows what is in use)", err)
	}
	if err == nil {
		done.Removed = append(done.Removed, item.Digest)
		done.Bytes += item.Size
	}
	return err
}

// report prints what was removed.
func (c *storeCommand) report(done removal) error {
	if c.asJSON {
		return printJSON(c.io.out, done)
	}
	for _, d := range done.Removed {
		fmt.Fprintln(c.io.out, d)
	}
	for _, r := range done.References {
		fmt.Fprintln(c.io.out, r)
	}
	return nil
}

// imagePrune is `clearrun image prune`.
func imagePrune(args []string, g globals, io stdio) (int, error) {
	c := newStoreCommand("prune [options]",
		"Take out the images that no run uses and no reference to a registry means: those of files, which can be rendered again.", g, io)
	var o store.PruneOptions
	c.flags.BoolVarP(&o.All, "all", "a", false, "also those that references mean")
	c.flags.DurationVar(&o.OlderThan, "older-than", 0, "only those that were not used for so long, such as 720h")
	c.flags.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would go, and let it stay")
	c.jsonFlag()
	return c.run(args, 0, 0, func(ctx context.Context, s *store.Store) (int, error) {
		if o.OlderThan < 0 {
			return vmrun.ExitFailure, fmt.Errorf("--older-than %v: must not be negative", o.OlderThan)
		}
		items, err := s.Prune(ctx, o)
		done := removal{Removed: []image.Digest{}}
		for _, item := range items {
			done.Removed = append(done.Removed, item.Digest)
			done.Bytes += item.Size
		}
		if err := errors.Join(c.report(done), err); err != nil {
			return vmrun.ExitFailure, err
		}
		if !c.asJSON {
			fmt.Fprintf(io.out, "%d images, %s\n", len(items), image.AboutSize(done.Bytes))
		}
		return 0, nil
	})
}
