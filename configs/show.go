package configs

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Value is one effective value and where it came from. Its JSON is a contract.
type Value struct {
	Section string `json:"section,omitempty"` // system, zookeeper, nats, metrics, topic=NAME
	Key     string `json:"key"`
	Value   string `json:"value"`          // as it may be written in the file; passwords are hidden
	Source  string `json:"source"`         // FromDefault, FromFile, FromEnv or FromFlag
	Origin  string `json:"origin"`         // path:line, METAQ_NAME or --flag; "default"
	Note    string `json:"note,omitempty"` // why the key has no effect
	Zone    string `json:"zone,omitempty"` // of a schedule: the time zone of its hours, and its offset now
}

// Effective lists every value in the order of the documentation, the topics
// last. What a topic inherits has the origin that it has in [system].
func (s *Server) Effective() []Value {
	values := s.origins.values(s.options(), "")
	for i := range s.Topics {
		t := &s.Topics[i]
		values = append(values, s.origins.values(t.options(), "system")...)
		for _, group := range slices.Sorted(maps.Keys(t.Filters)) {
			v := s.origins.value(filterOption(*t, group).id(), "")
			v.Section, v.Key, v.Value = topicPrefix+t.Name, "group."+group, t.Filters[group]
			v.Note = inertFilter
			values = append(values, v)
		}
	}
	return values
}

// values describes options. Those that nothing set have the origin of the same
// key in the section that they inherit from.
func (all origins) values(list []option, inherit string) []Value {
	values := make([]Value, len(list))
	for i, o := range list {
		v := all.value(o.id(), inherit+"\n"+o.key)
		v.Section, v.Key, v.Value, v.Note = o.section, o.key, redact(o), o.tag.Get("inert")
		if s, is := o.value.Interface().(Schedule); is {
			v.Zone = s.Zone(time.Now())
		}
		values[i] = v
	}
	return values
}

func (all origins) value(id, inherited string) Value {
	at, set := all[id]
	if !set {
		at, set = all[inherited]
	}
	if !set {
		at.Kind = FromDefault
		return Value{Source: at.Kind, Origin: FromDefault}
	}
	return Value{Source: at.Kind, Origin: at.String()}
}

// redact hides passwords.
func redact(o option) string {
	if o.tag.Get("secret") != "" && o.text() != "" {
		return "xxxxx:xxxxx"
	}
	list, ok := o.value.Interface().([]string)
	if !ok || o.tag.Get("check") != "natsurl" {
		return o.text()
	}
	hidden := slices.Clone(list)
	for i, one := range hidden {
		if u, err := url.Parse(one); err == nil && u.User != nil {
			u.User = url.UserPassword("xxxxx", "xxxxx") // a lone user name may be a token
			hidden[i] = u.String()
		}
	}
	return strings.Join(hidden, ",")
}

// WriteTable writes values as lines of key, value and origin, a heading for
// each section. A file is shown without its directory, to keep lines short.
func WriteTable(w io.Writer, values []Value) error {
	const widest = 24 // a longer value moves its origin only
	var out strings.Builder
	for i := 0; i < len(values); {
		rest := values[i:]
		end := slices.IndexFunc(rest, func(v Value) bool { return v.Section != rest[0].Section })
		if end < 0 {
			end = len(rest)
		}
		if i > 0 {
			out.WriteByte('\n')
		}
		if rest[0].Section != "" {
			fmt.Fprintf(&out, "[%s]\n", rest[0].Section)
		}
		width := 0
		for _, v := range rest[:end] {
			width = max(width, len(v.Key))
		}
		for _, v := range rest[:end] {
			origin := v.Origin
			if v.Source == FromFile {
				origin = filepath.Base(origin)
			}
			if v.Zone != "" {
				origin += ", in " + v.Zone
			}
			fmt.Fprintf(&out, "%-*s  %-*s  %s\n", width, v.Key, widest, cmp.Or(v.Value, "-"), origin)
		}
		i += end
	}
	_, err := io.WriteString(w, out.String())
	return err
}
