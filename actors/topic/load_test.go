package topic

import (
	"strings"
	"testing"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

func TestConfiguredTopicsAndThoseOfTheRegistry(t *testing.T) {
	for _, tc := range []struct {
		name       string
		have, want actors.Topic
		err        string
	}{
		{"more partitions", actors.Topic{Name: "t", Partitions: 2}, actors.Topic{Name: "t", Partitions: 5}, ""},
		{
			"fewer partitions",
			actors.Topic{Name: "t", Partitions: 5},
			actors.Topic{Name: "t", Partitions: 2},
			"topic t has 5 partitions in the registry (local) but 2 in server.ini: partitions cannot become fewer, write 5 there",
		},
		{
			"one of them says",
			actors.Topic{Name: "t", Partitions: 1},
			actors.Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{DeletePolicy: actorstest.Ptr("delete,1")}},
			"",
		},
		{
			"both say the same",
			actors.Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{RetentionBytes: actorstest.Ptr(int64(5))}},
			actors.Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{RetentionBytes: actorstest.Ptr(int64(5))}},
			"",
		},
		{
			"they differ",
			actors.Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{RetentionBytes: actorstest.Ptr(int64(5))}},
			actors.Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{RetentionBytes: actorstest.Ptr(int64(6))}},
			"topic t has retention_bytes 5 in the registry (local) but 6 in server.ini: make them the same, or take it out of server.ini",
		},
		{"a name that is none", actors.Topic{Name: "t", Partitions: 1}, actors.Topic{Name: "a.b", Partitions: 1}, `server.ini: topic name "a.b" is not allowed`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := actorstest.NewRegistry(tc.have)
			got, _, err := loadTopics(t.Context(), r, []actors.Topic{tc.want}, "server.ini", false)
			switch {
			case tc.err == "" && err != nil, tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Fatalf("error %v, want %q", err, tc.err)
			case err == nil && (got[0].Partitions != tc.want.Partitions || r.ByName["t"].Partitions != tc.want.Partitions):
				t.Fatalf("%+v", got)
			}
		})
	}
}
