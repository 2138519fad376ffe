package configs

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// LoadOptions says where Load and LoadClient take values from. A flag beats a
// variable, and a variable beats the file; a blank text is no value.
type LoadOptions struct {
	Path  string            // the file; "" for none
	Env   []string          // NAME=VALUE as os.Environ gives them; only METAQ_ names count
	Flags map[string]string // flags that the user gave, by name without dashes: nats-port

	// Zone is the time zone of deleteWhen; nil for the machine's.
	Zone *time.Location
}

// The kinds of an Origin, weakest first.
const (
	FromDefault = "default"
	FromFile    = "file"
	FromEnv     = "env"
	FromFlag    = "flag"
)

// Origin says what gave a value. The zero Origin is a default's.
type Origin struct {
	Kind string // FromFile, FromEnv, FromFlag; "" for a default
	Name string // the file's path, METAQ_NAME or --flag
	Line int    // of the file, from 1

	text string // as it was written
}

// String gives "default", "file:line", "METAQ_NAME" or "--flag".
func (o Origin) String() string {
	switch o.Kind {
	case "":
		return FromDefault
	case FromFile:
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	}
	return o.Name
}

// origins maps an option's id to what set it. Options with their default are not in it.
type origins map[string]Origin

// loader collects one configuration and every mistake in it.
type loader struct {
	opts     LoadOptions
	zone     *time.Location
	origins  origins
	mistakes Mistakes
	notices  Mistakes // no mistakes, but of their form and order
	unknown  Mistakes // the notices of unknown variables
}

func newLoader(opts LoadOptions) *loader {
	l := &loader{opts: opts, zone: opts.Zone, origins: origins{}}
	if l.zone == nil {
		l.zone = time.Local
	}
	return l
}

// readFile parses the file, if there is one. Only a file that cannot be read is an error.
func (l *loader) readFile() ([]section, error) {
	if l.opts.Path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(l.opts.Path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w; check the path", err)
	}
	return parse(l.opts.Path, text, &l.mistakes), nil
}

// setDefaults fills the tree. References are resolved later, by setReferences.
func (l *loader) setDefaults(list []option) {
	for _, o := range list {
		text := o.defaultText(l.opts.Path != "")
		if _, _, found := reference(text); text != "" && !found {
			if err := o.set(text, l.zone); err != nil {
				l.mistakes.add(Origin{}, "default of %s: %s", o.key, err)
			}
		}
	}
}

// setReferences gives every option that nothing set the value it follows. All
// references lead to [system].
func (l *loader) setReferences(list []option) {
	for _, o := range list {
		key, plus, found := reference(o.defaultText(l.opts.Path != ""))
		if _, set := l.origins[o.id()]; !found || set {
			continue
		}
		from := list[slices.IndexFunc(list, func(f option) bool { return f.section == "system" && f.key == key })]
		if o.value.CanInt() {
			o.value.SetInt(from.value.Int() + plus)
		} else {
			o.value.SetString(from.value.String())
		}
	}
}

// set takes one text from a source. A blank text leaves things as they are.
func (l *loader) set(o option, text string, at Origin) {
	if strings.TrimSpace(text) == "" {
		return
	}
	if err := o.set(strings.TrimSpace(text), l.zone); err != nil {
		l.mistakes.add(at, "%s: %s", o.key, err)
	}
	at.text = text
	l.origins[o.id()] = at // also when it was wrong: then it is not missing
}

// setSection takes the entries of one section of the file. all is the whole
// schema, to say in which section a misplaced key belongs; other may take a key
// that the schema does not have.
func (l *loader) setSection(s section, list, all []option, other func(entry) bool) {
	seen := map[string]int{}
	for _, e := range s.entries {
		if line := seen[e.key]; line != 0 {
			l.mistakes.add(e.at, "%s is set twice, first on line %d; remove one", clip(e.key), line)
			continue
		}
		seen[e.key] = e.at.Line
		if i := slices.IndexFunc(list, func(o option) bool { return o.key == e.key }); i >= 0 {
			l.set(list[i], e.text, e.at)
		} else if other == nil || !other(e) {
			l.unknownKey(s, e, list, all)
		}
	}
}

func (l *loader) unknownKey(s section, e entry, list, all []option) {
	var keys []string
	for _, o := range list {
		keys = append(keys, o.key)
	}
	where := ""
	if s.name != "" {
		where = " in [" + clip(s.name) + "]"
	}
	if i := slices.IndexFunc(all, func(o option) bool { return o.key == e.key }); i >= 0 {
		l.mistakes.add(e.at, "unknown key %s%s; it belongs in [%s]", clip(e.key), where, all[i].section)
		return
	}
	l.mistakes.add(e.at, "unknown key %s%s; did you mean %s?", clip(e.key), where, nearest(e.key, keys))
}

// setEnv takes the METAQ_ variables. What Kubernetes sets for a service is never a
// setting, also where it has the name of one (METAQ_NATS_PORT for a service metaq-nats),
// and an unknown variable stops nothing: other programs may share the prefix.
func (l *loader) setEnv(list []option) {
	known := map[string]option{}
	for _, o := range list {
		known[o.env()] = o
	}
	for _, variable := range l.opts.Env {
		name, text, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || strings.TrimSpace(text) == "" || serviceLink.MatchString(variable) {
			continue
		}
		at := Origin{Kind: FromEnv, Name: name}
		if o, found := known[name]; found {
			l.set(o, text, at)
		} else if !slices.Contains(otherEnv(), name) {
			l.unknown.add(at, "unknown variable, ignored%s", slip(name, nearest(name, otherEnv())))
		}
	}
}

// slip asks whether name is known with a slip of a few letters.
func slip(name, known string) string {
	if distance(name, known) > 3 {
		return "" // another program's
	}
	return "; did you mean " + known + "?"
}

// err returns the mistakes. Unknown variables are told with them: one of them may be the
// slip that left a value unset.
func (l *loader) err() error {
	if len(l.mistakes) == 0 {
		return nil
	}
	return append(l.mistakes, l.unknown...).err()
}

// told returns all notices, sorted.
func (l *loader) told() Mistakes {
	all := append(l.notices, l.unknown...)
	all.sort()
	return all
}

// otherEnv lists the variables that some part of this project reads: a broker
// and a client may share an environment.
func otherEnv() []string {
	names := []string{envPrefix + "CONFIG"}
	for _, o := range append((&Server{}).options(), optionsOf("", &ClientOptions{})...) {
		names = append(names, o.env())
	}
	return names
}

// setFlags takes the flags.
func (l *loader) setFlags(list []option) {
	known := map[string]option{}
	for _, o := range list {
		known[o.flag()] = o
	}
	for _, name := range slices.Sorted(maps.Keys(l.opts.Flags)) {
		at := Origin{Kind: FromFlag, Name: "--" + name}
		if o, found := known[name]; found {
			l.set(o, l.opts.Flags[name], at)
		} else {
			l.mistakes.add(at, "unknown flag; did you mean --%s?", nearest(name, slices.Sorted(maps.Keys(known))))
		}
	}
}
