package configs

import "slices"

// DefaultServer is where a client looks for a broker when nothing tells it.
const DefaultServer = "nats://127.0.0.1:4222"

// Client is the whole configuration of a client. Either Server or ZooKeeper has
// entries, not both.
type Client struct {
	ClientOptions

	origins origins
	notices Mistakes
}

// LoadClient gives the configuration of a client, or all its Mistakes at once.
// Without a path, variables and flags it is a client of DefaultServer.
func LoadClient(opts LoadOptions) (*Client, error) {
	l := newLoader(opts)
	sections, err := l.readFile()
	if err != nil {
		return nil, err
	}
	return l.client(sections)
}

// client makes the configuration from the parsed file and the overrides.
func (l *loader) client(sections []section) (*Client, error) {
	c := &Client{origins: l.origins}
	list := optionsOf("", &c.ClientOptions)
	l.setDefaults(list)
	for _, sec := range sections {
		if sec.name != "" {
			l.mistakes.add(sec.at, "a client's file has no sections; remove [%s], or use the file for a broker", clip(sec.name))
			continue
		}
		l.setSection(sec, list, nil, nil)
	}
	l.setEnv(list)
	l.setFlags(list)
	l.chooseEntrance(c)
	c.check(l.origins, "", "", &l.mistakes)
	if err := l.err(); err != nil {
		return nil, err
	}
	c.notices = l.told()
	return c, nil
}

// chooseEntrance settles whether the client goes to ZooKeeper or to a server. A
// flag for the one beats a variable or the file for the other.
func (l *loader) chooseEntrance(c *Client) {
	strength := []string{"", FromFile, FromEnv, FromFlag}
	server, zk := l.origins["\nserver"], l.origins["\nzookeeper"]
	switch byServer, byZk := slices.Index(strength, server.Kind), slices.Index(strength, zk.Kind); {
	case byServer == 0 && byZk == 0:
		c.Server = []string{DefaultServer}
	case byServer == byZk:
		l.mistakes.add(server, "both server and zookeeper are set; remove one")
	case byServer > byZk:
		c.ZooKeeper = nil
		delete(l.origins, "\nzookeeper")
	default:
		c.Server = nil
		delete(l.origins, "\nserver")
	}
}

// Notices lists, one line each, what was set and has no effect.
func (c *Client) Notices() []string { return c.notices.lines() }

// Effective lists every value and where it came from.
func (c *Client) Effective() []Value {
	return c.origins.values(optionsOf("", &c.ClientOptions), "")
}

// IsClientFile says whether path is a client's file: one with keys and without
// sections. A file that cannot be read is an error.
func IsClientFile(path string) (bool, error) {
	sections, err := newLoader(LoadOptions{Path: path}).readFile()
	return len(sections) == 1 && len(sections[0].entries) > 0, err
}
