package configs

import (
	"regexp"
	"strings"
)

// envPrefix begins the name of every variable of this project.
const envPrefix = "METAQ_"

// env gives the variable that overrides the option, "" for a topic's option:
//
//	[system] brokerId          METAQ_BROKER_ID
//	[nats] port                METAQ_NATS_PORT
//	[zookeeper] zk.zkSyncTimeMs  METAQ_ZK_SYNC_TIME_MS
//
// An env tag replaces what follows the prefix.
func (o option) env() string {
	if strings.HasPrefix(o.section, topicPrefix) {
		return ""
	}
	name := o.tag.Get("env")
	if name == "" {
		name = strings.TrimPrefix(o.key, "zk.")
		if o.section == "nats" || o.section == "metrics" {
			name = o.section + "_" + name
		}
		name = strings.ToUpper(camelHump.ReplaceAllString(name, "${1}_${2}"))
	}
	return envPrefix + name
}

var camelHump = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// flag gives the name of the flag, without dashes, that overrides the option:
// that of the variable in lower case, METAQ_NATS_PORT and nats-port. A flag tag
// replaces it.
func (o option) flag() string {
	if name := o.tag.Get("flag"); name != "" {
		return name
	}
	name := strings.TrimPrefix(o.env(), envPrefix)
	return strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}

// serviceLink matches what Kubernetes puts into the environment of every
// container for a service called metaq or metaq-x. Nobody wrote those: they set
// nothing.
var serviceLink = regexp.MustCompile(`^METAQ_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?=|PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://|PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=)`)
