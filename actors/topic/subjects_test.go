package topic

import (
	"errors"
	"fmt"
	"testing"

	"metaq/actors"
	"metaq/protocol"
)

// A request may not make everybody's messages be compared with filters without end.
func TestTopicsHaveAFewSubjects(t *testing.T) {
	filters := func(from, n int) *[]string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("f.%d", from+i))
		}
		return &all
	}
	c := topicsCore{
		opts:   actors.Options{MaxTopicSubjects: 3, MaxSubjects: 5}.WithDefaults(),
		byName: map[string]*topicEntry{},
		resolve: func(_ string, c protocol.TopicConfig) (actors.Settings, error) {
			var s actors.Settings
			if c.Subjects != nil {
				s.Subjects = *c.Subjects
			}
			return s, nil
		},
	}
	create := func(name string, subjects *[]string) error {
		_, err := c.create(protocol.TopicCreate{Topic: name, Partitions: 1, Config: protocol.TopicConfig{Subjects: subjects}})
		return err
	}
	for _, tc := range []struct {
		name    string
		filters *[]string
		want    error
	}{
		{"many", filters(0, 4), protocol.ErrBadRequest},
		{"a", filters(0, 3), nil},
		{"b", filters(3, 3), protocol.ErrBusy},
		{"b", filters(3, 2), nil},
		{"none", nil, nil},
		{"more", filters(5, 1), protocol.ErrBusy},
	} {
		if err := create(tc.name, tc.filters); !errors.Is(err, tc.want) {
			t.Errorf("%s with %v: %v, want %v", tc.name, tc.filters, err, tc.want)
		}
	}
	c.byName["a"].settings.Subjects = *filters(0, 4) // of the broker's file, or an older release
	c.byName["a"].phase = topicReady
	if _, _, _, err := c.change(protocol.TopicSet{Topic: "a", Config: protocol.TopicConfig{}}); err != nil {
		t.Errorf("a change of something else: %v", err)
	}
}

func TestTwoTopicsDoNotListenToOneSubject(t *testing.T) {
	c := topicsCore{opts: actors.Options{}.WithDefaults(), byName: map[string]*topicEntry{}}
	c.resolve = func(_ string, c protocol.TopicConfig) (actors.Settings, error) {
		return actors.Settings{Subjects: *c.Subjects}, nil
	}
	for _, step := range []struct {
		topic   string
		filters []string
		want    error
	}{
		{"a", []string{"orders.>", "billing.*"}, nil},
		{"b", []string{"orders.eu"}, protocol.ErrConflict},
		{"b", []string{"x.*.z", "x.y.>"}, protocol.ErrConflict},
		{"b", []string{"billing", "billing.a.b"}, nil},
	} {
		_, err := c.create(protocol.TopicCreate{Topic: step.topic, Config: protocol.TopicConfig{Subjects: &step.filters}})
		if !errors.Is(err, step.want) {
			t.Errorf("%s %v: %v, want %v", step.topic, step.filters, err, step.want)
		}
	}
}
