package configs

import (
	"reflect"

	"metaq/protocol"
)

// payloadRoom is what a NATS message needs beside the messages in it: subject,
// batch header, headers of the answer.
const payloadRoom = 64 << 10

// Validate checks every name and bound and what must fit together, and gives all
// Mistakes at once. Load has done it; call it after changing a Server in code.
func (s *Server) Validate() error {
	var mistakes Mistakes
	names := map[string]bool{}
	for _, t := range s.Topics {
		if err := protocol.CheckName("topic", t.Name); err != nil {
			mistakes.add(Origin{}, "%s", err)
		}
		if names[t.Name] {
			mistakes.add(Origin{}, "topic %s is listed twice; remove one", t.Name)
		}
		names[t.Name] = true
	}
	s.validateValues(&mistakes)
	return mistakes.err()
}

func (s *Server) validateValues(mistakes *Mistakes) {
	list := s.options()
	shared := map[string]any{}
	for _, o := range list {
		shared[o.key] = o.value.Interface()
	}
	for i := range s.Topics {
		for _, o := range s.Topics[i].options() {
			// What a topic inherits is checked once, in [system].
			if !reflect.DeepEqual(o.value.Interface(), shared[o.key]) {
				list = append(list, o)
			}
		}
	}
	s.checkListening(mistakes)
	s.ZooKeeper.check(s.origins, "zookeeper", "zk.", mistakes)
	if z := &s.ZooKeeper; z.WorldRead && z.Auth == "" && z.AuthFile == "" {
		mistakes.add(s.origins["zookeeper\nzk.zkWorldRead"], "zk.zkWorldRead has no effect without zk.zkAuth or zk.zkAuthFile; set one, or remove it")
	}
	ports := map[string]option{}
	for _, o := range list {
		s.checkBounds(o, mistakes)
		switch o.key {
		case "maxTransferSize":
			s.checkFits(o, "nats", "maxPayload", s.NATS.MaxPayload-payloadRoom, mistakes)
		case "maxMessageSize":
			s.checkFits(o, "nats", "maxPayload", s.NATS.MaxPayload-payloadRoom, mistakes)
			s.checkFits(o, "system", "maxInflightBytes", s.System.MaxInflightBytes, mistakes)
			s.checkFits(o, "system", "maxPartitionInflightBytes", s.System.MaxPartitionInflightBytes, mistakes)
		case "memoryLimit":
			if v := s.System.MemoryLimit; v > 0 && v <= s.System.MaxInflightBytes {
				mistakes.add(s.either(o.id(), "system\nmaxInflightBytes"), "memoryLimit=%s leaves no room beside maxInflightBytes=%s; raise it or lower maxInflightBytes",
					s.written(o), formatSize(s.System.MaxInflightBytes))
			}
		case "port", "clusterPort":
			ports[o.key] = o
		}
	}
	if s.NATS.Port == s.NATS.ClusterPort && s.NATS.Port != 0 && len(s.NATS.URL) == 0 {
		mistakes.add(s.either(ports["clusterPort"].id(), ports["port"].id()),
			"port and clusterPort are both %d; give each its own", s.NATS.Port)
	}
}

// checkListening adds a mistake for each two topics that take in the same subject.
func (s *Server) checkListening(mistakes *Mistakes) {
	type place struct{ topic, filter string }
	var seen []place
	for i := range s.Topics {
		t := &s.Topics[i]
		at := s.origins[topicPrefix+t.Name+"\nsubjects"]
		for _, filter := range t.Subjects {
			if err := (protocol.Subjects{Prefix: s.NATS.Prefix}).CheckFilter(filter); err != nil {
				mistakes.add(at, "subjects: %s", err)
				continue
			}
			for _, other := range seen {
				if protocol.FiltersOverlap(filter, other.filter) {
					mistakes.add(at, "subjects: %s of topic %s and %s of topic %s take in the same subject; a message can go to one topic only",
						filter, t.Name, other.filter, other.topic)
				}
			}
			seen = append(seen, place{t.Name, filter})
		}
	}
}

// checkBounds adds a mistake when o is outside its bounds.
func (s *Server) checkBounds(o option, mistakes *Mistakes) {
	least, most, bounded := o.bounds()
	if !bounded || o.value.Int() >= least.value.Int() && o.value.Int() <= most.value.Int() {
		return
	}
	_, above := o.tag.Lookup("max")
	at := s.origins[o.id()]
	if above {
		mistakes.add(at, "%s=%s is out of range; use %s to %s", o.key, s.written(o), least.text(), most.text())
	} else {
		mistakes.add(at, "%s=%s is too small; use %s or more", o.key, s.written(o), least.text())
	}
}

// checkFits adds a mistake when a message of size o would never pass the limit.
func (s *Server) checkFits(o option, section, key string, limit int64, mistakes *Mistakes) {
	if o.value.Int() <= limit || section == "nats" && len(s.NATS.URL) > 0 {
		return
	}
	at := s.either(o.id(), section+"\n"+key)
	mistakes.add(at, "%s=%s does not fit into [%s] %s; the most that fits is %s", o.key, s.written(o), section, key, formatSize(limit))
}

// either gives the origin of the first id that something set.
func (s *Server) either(ids ...string) Origin {
	for _, id := range ids {
		if at, set := s.origins[id]; set {
			return at
		}
	}
	return Origin{}
}

// written gives the value as the user wrote it, else as it is.
func (s *Server) written(o option) string {
	if at, set := s.origins[o.id()]; set {
		return clip(at.text)
	}
	return o.text()
}
