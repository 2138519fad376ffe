package configs

import (
	"slices"
	"strconv"
	"strings"

	"metaq/protocol"
)

// Server is the whole configuration of one broker. Load makes it.
type Server struct {
	System    System
	ZooKeeper ZooKeeper
	NATS      NATS
	Metrics   Metrics
	Topics    []Topic // in the order of the file; names are unique

	origins origins
	notices Mistakes
}

// options lists the options of all sections but the topics'.
func (s *Server) options() []option {
	return slices.Concat(
		optionsOf("system", &s.System),
		optionsOf("zookeeper", &s.ZooKeeper),
		optionsOf("nats", &s.NATS),
		optionsOf("metrics", &s.Metrics),
	)
}

func (t *Topic) options() []option {
	section := topicPrefix + t.Name
	return append(optionsOf(section, &t.TopicOptions), optionsOf(section, &t.ListenOptions)...)
}

// Load gives the configuration of a broker, or all its Mistakes at once. Without
// a path it is a broker that runs alone and needs nothing else.
func Load(opts LoadOptions) (*Server, error) {
	l := newLoader(opts)
	sections, err := l.readFile()
	if err != nil {
		return nil, err
	}
	return l.server(sections)
}

// server makes the configuration from the parsed file and the overrides.
func (l *loader) server(sections []section) (*Server, error) {
	s := &Server{origins: l.origins}
	list := s.options()
	l.setDefaults(list)
	l.setServerSections(sections, list)
	l.setEnv(list)
	l.setFlags(list)
	if _, set := l.origins["system\ndataPath"]; !set && s.System.BrokerID > 0 {
		// Brokers that start in one directory must not meet in one data directory.
		s.System.DataPath += "-" + strconv.Itoa(s.System.BrokerID)
	}
	l.setReferences(list)
	if s.NATS.Host == "" {
		s.NATS.Host = "0.0.0.0" // hostName is blank: any interface, as in MetaQ
	}
	// Only now: a topic inherits what the overrides left in [system].
	l.setTopics(s, sections, list)
	l.require(list, sections)
	s.validateValues(&l.mistakes)
	l.checkZone()
	if err := l.err(); err != nil {
		return nil, err
	}
	l.noticeInert(s)
	s.notices = l.told()
	return s, nil
}

// setServerSections takes everything of the file but the topics.
func (l *loader) setServerSections(sections []section, list []option) {
	seen := map[string]int{}
	for _, sec := range sections {
		if sec.name == "" {
			for _, e := range sec.entries {
				l.mistakes.add(e.at, "%s stands before the first section; put [system] above it", clip(e.key))
			}
			continue
		}
		if line := seen[sec.name]; line != 0 {
			l.mistakes.add(sec.at, "section [%s] stands twice, first on line %d; join them", clip(sec.name), line)
		} else {
			seen[sec.name] = sec.at.Line
		}
		own := slices.DeleteFunc(slices.Clone(list), func(o option) bool { return o.section != sec.name })
		switch {
		case len(own) > 0:
			l.setSection(sec, own, list, nil)
		case strings.HasPrefix(sec.name, topicPrefix):
			// setTopics takes it.
		case sec.name == "slave":
			l.notices.add(sec.at, "section [slave] has no effect, as in MetaQ")
		default:
			kind, _, _ := strings.Cut(sec.name, "=")
			meant := nearest(kind, []string{"system", "zookeeper", "nats", "metrics", "topic"})
			if meant == "topic" {
				meant = topicPrefix + "NAME"
			}
			l.mistakes.add(sec.at, "unknown section [%s]; did you mean [%s]?", clip(sec.name), meant)
		}
	}
}

// setTopics makes the topics of the file from [system] and their own entries.
func (l *loader) setTopics(s *Server, sections []section, list []option) {
	for _, sec := range sections {
		name, found := strings.CutPrefix(sec.name, topicPrefix)
		if !found {
			continue
		}
		if strings.Contains(name, "*") {
			l.mistakes.add(sec.at, "[%s] is a pattern, which is not supported; name each topic, or set autoCreateTopics=true", clip(sec.name))
		} else if err := protocol.CheckName("topic", name); err != nil {
			l.mistakes.add(sec.at, "%s", err)
		}
		t := s.Topic(name)
		l.setSection(sec, t.options(), list, func(e entry) bool { return l.setFilter(&t, e) })
		s.Topics = append(s.Topics, t)
	}
}

// setFilter takes the keys of a topic that are not in the schema:
// group.NAME=CLASS, and two names that MetaQ accepts by accident.
func (l *loader) setFilter(t *Topic, e entry) bool {
	if e.key == "topic" || e.key == "filterClassNames" {
		l.notices.add(e.at, "%s has no effect, as in MetaQ", e.key)
		return true
	}
	group, found := strings.CutPrefix(e.key, "group.")
	if !found {
		return false
	}
	if err := protocol.CheckName("group", group); err != nil {
		l.mistakes.add(e.at, "%s", err)
		return true
	}
	if err := checkText(e.text); err != nil {
		l.mistakes.add(e.at, "%s: %s", e.key, err)
	} else if e.text != "" {
		if t.Filters == nil {
			t.Filters = map[string]string{}
		}
		t.Filters[group] = e.text
		l.origins[filterOption(*t, group).id()] = e.at
		l.notices.add(e.at, "%s %s", e.key, inertFilter)
	}
	return true
}

const inertFilter = "has no effect yet: there are no filters in the broker"

func filterOption(t Topic, group string) option {
	return option{section: topicPrefix + t.Name, key: "group." + group}
}

// require adds a mistake for every option that a file must set.
func (l *loader) require(list []option, sections []section) {
	if l.opts.Path == "" {
		return
	}
	find := func(name string) (Origin, bool) {
		i := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		if i < 0 {
			return Origin{Kind: FromFile, Name: l.opts.Path, Line: 1}, false
		}
		return sections[i].at, true
	}
	at, _ := find("system")
	var enabled bool
	for _, o := range list {
		if _, set := l.origins[o.id()]; !set && o.tag.Get("required") == "file" {
			least, most, _ := o.bounds()
			l.mistakes.add(at, "%s is missing in [system]; set it, %s to %s", o.key, least.text(), most.text())
		}
		if o.key == "zk.zkEnable" {
			enabled = o.value.Bool()
		}
		if _, set := l.origins[o.id()]; !set && o.key == "zk.zkConnect" && enabled {
			if at, found := find("zookeeper"); found {
				l.mistakes.add(at, "zk.zkConnect is missing in [zookeeper]; list the servers, or set zk.zkEnable=false to run alone")
			}
		}
	}
}

// noticeInert says of each option that was set and has no effect why that is.
func (l *loader) noticeInert(s *Server) {
	list := s.options()
	for i := range s.Topics {
		list = append(list, s.Topics[i].options()...)
	}
	for _, o := range list {
		at, set := s.origins[o.id()]
		if !set {
			continue
		}
		why := o.tag.Get("inert")
		switch {
		case o.section == "nats" && o.key != "url" && o.key != "prefix" && len(s.NATS.URL) > 0:
			why = "has no effect: [nats] url is set, so there is no embedded server"
		case o.section == "zookeeper" && o.key != "zk.zkEnable" && !s.ZooKeeper.Enable && at.Kind != FromFile:
			why = "has no effect: zk.zkEnable=false"
		}
		if why != "" {
			l.notices.add(at, "%s %s", o.key, why)
		}
	}
}

// Notices lists, one line each, what was set and has no effect, with where it
// was set and why. Log them at start.
func (s *Server) Notices() []string { return s.notices.lines() }

// UseZooKeeper says whether the registry is ZooKeeper; otherwise it is the
// broker's own local one.
func (s *Server) UseZooKeeper() bool { return s.ZooKeeper.Enable && len(s.ZooKeeper.Connect) > 0 }

// Topic gives the options of a topic: those of its section, or of [system] when
// it has none. The name is not checked.
func (s *Server) Topic(name string) Topic {
	for _, t := range s.Topics {
		if t.Name == name {
			return t
		}
	}
	return Topic{Name: name, TopicOptions: s.System.TopicOptions}
}
