package pod

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/store"
	"github.com/clearrun/clearrun/trust"
)

// Overrides are the user's changes to the image's app. Zero values keep what the
// image says.
type Overrides struct {
	Entrypoint []string // replaces the image's exec, and its default arguments
	Args       []string // appended to exec, as in rkt; replaces default arguments, as in docker
	Env        []string // KEY=value; replaces the image's value of KEY
	Dir        string   // absolute
	User       string   // user, or user:group
	Group      string   // wins over the group in User

	MemoryBytes uint64
	CPUs        int

	DeviceLimits []DeviceLimit // as ParseDeviceLimit reads them
	IOWeight     int

	CapAdd, CapDrop []string // names, or ALL; add first, then drop
	NoNewPrivileges bool     // true switches it on; the image's own true stays
	Rlimits         []Rlimit

	Hostname     string
	ReadOnlyRoot bool
	TTY, Stdin   bool
	StopSignal   string // name or number; replaces the image's

	Network string        // as ParseNetwork reads it; empty: the tier's default
	Publish []Publication // ports of the host
	Label   label.Options // SELinux; no RequireSELinux: that is the policy's

	UserNS string // host or auto; empty: the tier's default

	Volumes []Volume // Source is made absolute

	// Strict refuses an image with an isolator that is not enforced.
	Strict bool
}

// New makes a Pod that runs the entry's app. The Pod owns the entry; if New fails,
// the caller keeps it.
func New(verdict trust.Verdict, entry *store.Entry, o Overrides) (*Pod, error) {
	if entry == nil || !verdict.Grants(entry.Digest) {
		return nil, errors.New("pod: no permission to run this image")
	}
	p, err := assemble(verdict, entry.Meta, o)
	if err != nil {
		return nil, err
	}
	p.RootFS = entry
	return p, nil
}

// assemble makes the Pod but for its root.
func assemble(verdict trust.Verdict, meta image.Meta, o Overrides) (*Pod, error) {
	fail := func(err error) (*Pod, error) { return nil, fmt.Errorf("image %s: %w", meta.Name, err) }
	app, err := chooseApp(meta, o)
	if err != nil {
		return fail(err)
	}
	iso, err := isolate(app.Isolators, baseCapabilities(verdict.Tier()))
	if err != nil {
		return fail(err)
	}
	p := &Pod{
		Verdict:      verdict,
		Image:        meta,
		Name:         string(meta.Name),
		Resources:    Resources{MemoryBytes: iso.memory, CPUs: iso.cpus},
		ReadOnlyRoot: o.ReadOnlyRoot,
		Label:        o.Label,
		asked:        o.limits(),
		strict:       o.Strict,
	}
	if p.Hostname, err = hostname(meta.Name, o.Hostname, verdict.Tier()); err != nil {
		return fail(err)
	}
	if err := p.Resources.override(o); err != nil {
		return fail(err)
	}
	if p.Resources.IO, err = limitIO(iso, o, verdict.Tier()); err != nil {
		return fail(err)
	}
	if p.App, err = mergeApp(meta, app, iso, o); err != nil {
		return fail(err)
	}
	if p.Network, err = chooseNetwork(o.Network, verdict.Tier()); err != nil {
		return fail(err)
	}
	if err := p.cutFrames(o); err != nil {
		return fail(err)
	}
	if p.Published, err = choosePublications(o.Publish, p.Network, verdict.Tier()); err != nil {
		return fail(err)
	}
	if p.UserNamespace, err = chooseUserNamespace(o.UserNS, verdict.Tier()); err != nil {
		return fail(err)
	}
	if p.Volumes, err = resolveVolumes(o.Volumes, verdict.Tier()); err != nil {
		return fail(err)
	}
	if err := p.restrict(verdict.Limits(), o); err != nil {
		return fail(err)
	}
	p.Enforcement = p.enforcement(app.Isolators, iso)
	if o.Strict {
		if err := p.unenforced(); err != nil {
			return fail(err)
		}
	}
	return p, nil
}

// chooseApp returns the image's app. An image without one runs only if the user says
// what; then it runs as root, as docker does.
func chooseApp(meta image.Meta, o Overrides) (image.App, error) {
	switch {
	case len(meta.Apps) == 1:
		return meta.Apps[0], nil
	case len(meta.Apps) > 1:
		return image.App{}, errors.New("more than one app is not supported yet")
	case len(o.Entrypoint) > 0:
		return image.App{User: "0", Group: "0"}, nil
	}
	return image.App{}, errors.New("has no app to run: name a command with --entrypoint")
}

func (r *Resources) override(o Overrides) error {
	if o.CPUs < 0 {
		return fmt.Errorf("%d CPUs: must not be negative", o.CPUs)
	}
	if o.CPUs > 0 {
		r.CPUs = o.CPUs
	}
	if o.MemoryBytes > 0 {
		r.MemoryBytes = o.MemoryBytes
	}
	return nil
}

func mergeApp(meta image.Meta, from image.App, iso isolation, o Overrides) (App, error) {
	app := App{
		Dir:               "/",
		User:              from.User,
		Group:             from.Group,
		SupplementaryGIDs: slices.Clone(from.SupplementaryGIDs),
		NoNewPrivileges:   iso.noNewPrivileges || o.NoNewPrivileges,
		Seccomp:           iso.seccomp,
		Rlimits:           slices.Clone(o.Rlimits),
		TTY:               o.TTY,
		Stdin:             o.Stdin,
	}
	var err error
	if app.Exec, err = command(from, o); err != nil {
		return app, err
	}
	if app.Env, err = environment(meta, from, o); err != nil {
		return app, err
	}
	if app.Capabilities, err = changeCapabilities(iso.capabilities, o); err != nil {
		return app, err
	}
	if app.StopSignal, err = ParseSignal(cmp.Or(o.StopSignal, from.StopSignal, "SIGTERM")); err != nil {
		return app, fmt.Errorf("stop signal: %w", err)
	}
	for _, dir := range []string{from.WorkingDirectory, o.Dir} {
		if dir == "" {
			continue
		}
		if !path.IsAbs(dir) || strings.IndexByte(dir, 0) >= 0 {
			return app, fmt.Errorf("working directory %q is not an absolute path", dir)
		}
		app.Dir = path.Clean(dir)
	}
	return app, app.overrideUser(o)
}

func command(from image.App, o Overrides) ([]string, error) {
	words, args := from.Exec, o.Args
	switch {
	case len(o.Entrypoint) > 0:
		words = o.Entrypoint // as in docker, the image's arguments go with its command
	case len(args) == 0:
		args = from.DefaultArgs
	}
	words = slices.Concat(words, args)
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("has no command to run: name one with --entrypoint")
	}
	for _, w := range words {
		if strings.IndexByte(w, 0) >= 0 {
			return nil, fmt.Errorf("command: NUL in %q", w)
		}
	}
	return words, nil
}

// defaultPath is what an app finds as PATH if nobody says otherwise (appc spec,
// OS-SPEC.md).
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment merges, later ones winning: what every app gets, the image's, the user's.
func environment(meta image.Meta, from image.App, o Overrides) ([]string, error) {
	vars := []string{"PATH=" + defaultPath, "AC_APP_NAME=" + meta.Name.Base()}
	for _, e := range from.Environment {
		vars = append(vars, e.Name+"="+e.Value)
	}
	vars = append(vars, o.Env...)
	var env []string
	position := make(map[string]int)
	for _, v := range vars {
		key, _, ok := strings.Cut(v, "=")
		if !ok || key == "" || strings.IndexByte(v, 0) >= 0 {
			return nil, fmt.Errorf("environment: %q is not KEY=value", v)
		}
		if i, seen := position[key]; seen {
			env[i] = v
			continue
		}
		position[key] = len(env)
		env = append(env, v)
	}
	return env, nil
}

func changeCapabilities(set CapabilitySet, o Overrides) (CapabilitySet, error) {
	add, err := ParseCapabilities(o.CapAdd...)
	if err != nil {
		return 0, err
	}
	drop, err := ParseCapabilities(o.CapDrop...)
	if err != nil {
		return 0, err
	}
	// "Drop ALL, add one" must leave the one: what is named beats ALL.
	if drop == AllCapabilities() && add != AllCapabilities() {
		return add, nil
	}
	return (set | add) &^ drop, nil
}

// overrideUser takes user and user:group. Without a group, that of the user counts,
// not the image's.
func (a *App) overrideUser(o Overrides) error {
	if o.User != "" {
		user, group, both := strings.Cut(o.User, ":")
		if user == "" || both && group == "" {
			return fmt.Errorf("user %q: want user or user:group", o.User)
		}
		a.User, a.Group = user, group // no group: the user's own, from /etc/passwd
		a.SupplementaryGIDs = nil     // they were the image's user's
	}
	if o.Group != "" {
		a.Group = o.Group
	}
	for _, s := range []string{a.User, a.Group} {
		if strings.ContainsAny(s, "\x00\n:") {
			return fmt.Errorf("user or group %q is not a name, a number or a path", s)
		}
	}
	return nil
}

// hostnameMax is the kernel's bound (linux/utsname.h, __NEW_UTS_LEN).
const hostnameMax = 64

// hostname checks the user's choice, or makes one of the image's name.
func hostname(name image.Name, chosen string, tier trust.Tier) (string, error) {
	if tier == trust.TierHost {
		if chosen != "" {
			return "", errors.New("host name: tier host has the host's: leave it out, or ask for tier ns (--ns), where the policy allows it")
		}
		return os.Hostname()
	}
	if chosen == "" {
		return hostnameOf(name), nil
	}
	if len(chosen) > hostnameMax {
		return "", fmt.Errorf("host name %q is longer than %d bytes", chosen, hostnameMax)
	}
	for label := range strings.SplitSeq(chosen, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return "", fmt.Errorf("host name %q: letters, digits and hyphens between dots", chosen)
		}
	}
	return chosen, nil
}

// hostnameOf turns the last component of an image's name into one DNS label.
func hostnameOf(name image.Name) string {
	label := strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '~' || r == ':' {
			return '-'
		}
		return r
	}, name.Base())
	if len(label) > hostnameMax-1 {
		label = label[:hostnameMax-1]
	}
	if label = strings.Trim(label, "-"); label == "" {
		return "app"
	}
	return label
}
