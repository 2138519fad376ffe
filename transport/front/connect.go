package front

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// maxConnect is the longest CONNECT line. Other lines are shorter; a JWT has to fit here.
const maxConnect = 16 << 10

// maxAgent bounds each of the two texts of a client that the server hears.
const maxAgent = 64

// Why a CONNECT is refused; the server's own texts where it has one.
const (
	notAuthorized     = "Authorization Violation"
	badProtocol       = "invalid client protocol"
	needsHeaders      = "no responders requires headers support"
	connectFirst      = "CONNECT must be the first line"
	connectTwice      = "CONNECT was said before"
	connectNoObject   = "CONNECT needs one JSON object"
	connectTooLong    = "maximum control line exceeded"
	connectFieldTwice = "CONNECT has a field twice"
	connectFieldType  = "CONNECT has a field of the wrong type"
)

// connect is what a client says of itself in CONNECT, as far as it matters. The front alone
// reads that line: the server gets one that the front writes, without credentials.
type connect struct {
	verbose, pedantic, echo, headers, noResponders bool
	credentials                                    bool // it gave some
	protocol                                       int
	lang, version                                  string
}

// parseConnect reads the line of a client, or returns why it is refused. A field may stand
// there once only, in whatever case, so that no two readers can take different values.
func parseConnect(line []byte) (c connect, why string) {
	c = connect{verbose: true, pedantic: true, echo: true} // the server's defaults
	if len(line) > maxConnect {
		return c, connectTooLong
	}
	d := json.NewDecoder(bytes.NewReader(line[len("CONNECT"):]))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return c, connectNoObject
	}
	var account, secret string
	var newAccount bool
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		name, is := t.(string)
		if err != nil || !is {
			return c, connectNoObject
		}
		if name = strings.ToLower(name); seen[name] {
			return c, connectFieldTwice
		}
		seen[name] = true
		var value any
		switch name {
		case "verbose":
			value = &c.verbose
		case "pedantic":
			value = &c.pedantic
		case "echo":
			value = &c.echo
		case "headers":
			value = &c.headers
		case "no_responders":
			value = &c.noResponders
		case "protocol":
			value = &c.protocol
		case "lang":
			value = &c.lang
		case "version":
			value = &c.version
		case "account":
			value = &account
		case "new_account":
			value = &newAccount
		case "user", "pass", "auth_token", "jwt", "nkey":
			value = &secret
		case "name", "sig":
			value = new(string)
		case "tls_required":
			value = new(bool)
		default:
			value = new(json.RawMessage)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return c, connectNoObject
		}
		if json.Unmarshal(raw, value) != nil {
			return c, connectFieldType
		}
		c.credentials = c.credentials || secret != ""
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return c, connectNoObject
	}
	if _, err := d.Token(); err == nil || d.More() {
		return c, connectNoObject
	}
	switch {
	case account != "" || newAccount:
		return c, notAuthorized
	case c.protocol < 0 || c.protocol > 1:
		return c, badProtocol
	case c.noResponders && !c.headers:
		return c, needsHeaders
	}
	return c, ""
}

// line is the CONNECT for the server. It has no name, no user and no secret: the server
// closes a connection with a name when its options change.
func (c *connect) line() []byte {
	said, err := json.Marshal(struct {
		Verbose      bool   `json:"verbose"`
		Pedantic     bool   `json:"pedantic"`
		Echo         bool   `json:"echo"`
		Headers      bool   `json:"headers"`
		NoResponders bool   `json:"no_responders"`
		Protocol     int    `json:"protocol"`
		Lang         string `json:"lang,omitempty"`
		Version      string `json:"version,omitempty"`
	}{
		Echo: c.echo, Headers: c.headers, NoResponders: c.noResponders, Protocol: c.protocol,
		Lang: c.lang[:min(len(c.lang), maxAgent)], Version: c.version[:min(len(c.version), maxAgent)],
	})
	if err != nil {
		panic(err) // booleans, a number and texts can be encoded
	}
	return fmt.Appendf(nil, "CONNECT %s\r\n", said)
}
