package front

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

func TestAHeaderBlockIsKeptWholeOrRefused(t *testing.T) {
	refused := nats.Header{Malformed: nil}
	for name, tt := range map[string]struct {
		block string
		want  nats.Header
	}{
		"no header":               {"NATS/1.0\r\n\r\n", nats.Header{}},
		"blank or none":           {"NATS/1.0\r\nA: b\r\nC:d\r\nA:e\r\n\r\n", nats.Header{"A": {"b", "e"}, "C": {"d"}}},
		"line feeds":              {"NATS/1.0\nA: b\n\n", nats.Header{"A": {"b"}}},
		"empty value":             {"NATS/1.0\r\nA:\r\n\r\n", nats.Header{"A": {""}}},
		"colons in a value":       {"NATS/1.0\r\nA: b:c\r\n\r\n", nats.Header{"A": {"b:c"}}},
		"line without a name":     {"NATS/1.0\r\n: v\r\nA: 1\r\n\r\n", refused},
		"behind an empty line":    {"NATS/1.0\r\nA: 1\r\n\r\nB: 2\r\n\r\n", refused},
		"half a line behind":      {"NATS/1.0\r\nA: 1\r\n\r\nB: 2", refused},
		"two empty lines":         {"NATS/1.0\r\nA: 1\r\n\r\n\r\n", refused},
		"no empty line":           {"NATS/1.0\r\nA: 1\r\n", refused},
		"line without a colon":    {"NATS/1.0\r\nA\r\n\r\n", refused},
		"status":                  {"NATS/1.0 503\r\n\r\n", refused},
		"status with a text":      {"NATS/1.0 100 Idle Heartbeat\r\nA: 1\r\n\r\n", refused},
		"status hides a nameless": {"NATS/1.0 503\r\n:\r\n\r\n", refused},
		"other version":           {"NATS/1.1\r\nA: 1\r\n\r\n", refused},
	} {
		t.Run(name, func(t *testing.T) {
			var m Request
			m.head([]byte(tt.block))
			if d := cmp.Diff(tt.want, m.Header); d != "" {
				t.Error(d)
			}
		})
	}
}
