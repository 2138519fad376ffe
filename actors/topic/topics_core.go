package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/partition"
	"metaq/protocol"
)

// topicPhase is what is happening to a topic.
type topicPhase uint8

const (
	topicCreating   topicPhase = iota // the registry is asked
	topicInstalling                   // its partitions open
	topicReady
	topicChanging // the registry is asked
	topicDeleting
	topicStopping // with the broker
)

// topicEntry is what the topics actor knows of one topic. Only it looks inside.
type topicEntry struct {
	topic    actors.Topic
	settings actors.Settings
	phase    topicPhase
	pid      *actor.PID
	pids     []*actor.PID
	statuses []*partition.Status
	askers   []*actor.PID // who gets the topic's description once it is ready
	missing  bool         // the members do not have it; to be looked into once it is ready
	// announced get it once the other brokers have opened it too.
	announced []*actor.PID
	fires     time.Time // next retention; zero: never
}

// info describes the topic.
func (t *topicEntry) info() protocol.TopicInfo {
	born := t.topic.Born
	i := protocol.TopicInfo{Topic: t.topic.Name, Born: &born, Config: t.topic.Config, Partitions: []protocol.PartitionInfo{}}
	for _, s := range t.statuses {
		i.Partitions = append(i.Partitions, s.Info())
	}
	return i
}

// topicsCore holds the topics and judges the requests about them. It is pure but
// for resolve, which is the assembly's and pure too.
type topicsCore struct {
	opts    actors.Options // with defaults
	resolve func(topic string, c protocol.TopicConfig) (actors.Settings, error)
	byName  map[string]*topicEntry
	members *actors.Members // nil when the broker runs alone
	// heard is what other brokers said last of their partitions, by topic.
	heard map[string]map[protocol.PartitionID]protocol.PartitionInfo
}

// create judges a request for a new topic and enters it.
func (c *topicsCore) create(r protocol.TopicCreate) (*topicEntry, error) {
	if err := protocol.CheckName("topic", r.Topic); err != nil {
		return nil, protocol.ErrBadName.With("%v", err)
	}
	if r.Partitions == 0 {
		r.Partitions = c.opts.Partitions
	}
	if err := checkPartitions(r.Partitions); err != nil {
		return nil, err
	}
	if t, ok := c.byName[r.Topic]; ok {
		if t.phase == topicCreating || t.phase == topicDeleting {
			return nil, busyTopic(t)
		}
		return nil, protocol.ErrExists.With("topic %q exists already, with %d partitions", r.Topic, t.topic.Partitions)
	}
	if err := c.room(r.Topic, r.Partitions); err != nil {
		return nil, err
	}
	settings, err := c.resolve(r.Topic, r.Config)
	if err != nil {
		return nil, protocol.ErrBadRequest.With("%v", err)
	}
	if err := c.fewSubjects(r.Topic, r.Config.Subjects); err != nil {
		return nil, err
	}
	if err := c.listening(r.Topic, settings.Subjects); err != nil {
		return nil, err
	}
	t := &topicEntry{topic: actors.Topic{Name: r.Topic, Partitions: r.Partitions, Config: r.Config}, settings: settings}
	c.byName[r.Topic] = t
	return t, nil
}

// room refuses partitions beyond MaxPartitions. What is configured, and what other
// brokers create, is opened in any case.
func (c *topicsCore) room(topic string, more int) error {
	n := 0
	for _, t := range c.byName {
		n += t.topic.Partitions
	}
	if n+more <= c.opts.MaxPartitions {
		return nil
	}
	return protocol.ErrBusy.With("topic %s: this broker has %d partitions, and %d more would pass its maxPartitions of %d: ask for fewer, delete topics that are not used, or raise it",
		topic, n, more, c.opts.MaxPartitions)
}

func checkPartitions(n int) error {
	if n < 1 || n > protocol.MaxPartitions {
		return protocol.ErrBadRequest.With("partitions is %d: use 1 to %d", n, protocol.MaxPartitions)
	}
	return nil
}

// change judges a request to change a topic and returns what it becomes.
func (c *topicsCore) change(r protocol.TopicSet) (*topicEntry, actors.Topic, actors.Settings, error) {
	t, err := c.ready(r.Topic)
	if err != nil {
		return nil, actors.Topic{}, actors.Settings{}, err
	}
	to := t.topic
	if r.Partitions != 0 {
		if err := checkPartitions(r.Partitions); err != nil {
			return nil, actors.Topic{}, actors.Settings{}, err
		}
		if r.Partitions < to.Partitions {
			return nil, actors.Topic{}, actors.Settings{}, protocol.ErrConflict.With(
				"topic %q has %d partitions, which may become more but not %d: create another topic", r.Topic, to.Partitions, r.Partitions)
		}
		if err := c.room(r.Topic, r.Partitions-to.Partitions); err != nil && r.Partitions > to.Partitions {
			return nil, actors.Topic{}, actors.Settings{}, err
		}
		to.Partitions = r.Partitions
	}
	to.Config = overlay(to.Config, r.Config)
	settings, err := c.resolve(r.Topic, to.Config)
	if err != nil {
		return nil, actors.Topic{}, actors.Settings{}, protocol.ErrBadRequest.With("%v", err)
	}
	if err := c.fewSubjects(r.Topic, r.Config.Subjects); err != nil {
		return nil, actors.Topic{}, actors.Settings{}, err
	}
	if err := c.listening(r.Topic, settings.Subjects); err != nil {
		return nil, actors.Topic{}, actors.Settings{}, err
	}
	return t, to, settings, nil
}

// fewSubjects refuses a request for more filters than a topic, or all of them, may have. What
// was there before, or is in the broker's own file, stays.
func (c *topicsCore) fewSubjects(name string, filters *[]string) error {
	if filters == nil || len(*filters) == 0 {
		return nil
	}
	n := len(*filters)
	if n > c.opts.MaxTopicSubjects {
		return protocol.ErrBadRequest.With("topic %s would listen to %d subjects, the limit is %d: use filters with wildcards, several topics, or raise maxTopicSubjects",
			name, n, c.opts.MaxTopicSubjects)
	}
	for other, t := range c.byName {
		if other != name {
			n += len(t.settings.Subjects)
		}
	}
	if n > c.opts.MaxSubjects {
		return protocol.ErrBusy.With("all topics would listen to %d subjects, the limit is %d: use filters with wildcards, or raise maxSubjects", n, c.opts.MaxSubjects)
	}
	return nil
}

// listening refuses filters that take in a subject which another filter, of any
// topic, takes in too: a message can go to one topic only.
func (c *topicsCore) listening(name string, filters []string) error {
	for i, filter := range filters {
		for _, own := range filters[:i] {
			if protocol.FiltersOverlap(filter, own) {
				return protocol.ErrConflict.With("topic %s would listen to %s and %s, which take in the same subject: leave one out", name, own, filter)
			}
		}
		for other, t := range c.byName {
			for _, theirs := range t.settings.Subjects {
				if other != name && protocol.FiltersOverlap(filter, theirs) {
					return protocol.ErrConflict.With("topic %s would listen to %s, but topic %s listens to %s, which takes in the same subject: a message can go to one topic only",
						name, filter, other, theirs)
				}
			}
		}
	}
	return nil
}

// ready returns a topic about which nothing else is going on.
func (c *topicsCore) ready(name string) (*topicEntry, error) {
	t, ok := c.byName[name]
	if !ok {
		return nil, actors.NoTopic(name)
	}
	if t.phase != topicReady {
		return nil, busyTopic(t)
	}
	return t, nil
}

// served returns a topic that has partitions.
func (c *topicsCore) served(name string) (*topicEntry, error) {
	t, ok := c.byName[name]
	if !ok {
		return nil, actors.NoTopic(name)
	}
	if t.phase == topicCreating || t.phase == topicDeleting {
		return nil, busyTopic(t)
	}
	return t, nil
}

func busyTopic(t *topicEntry) error {
	what := map[topicPhase]string{
		topicCreating: "created", topicInstalling: "opened", topicChanging: "changed", topicDeleting: "deleted", topicStopping: "closed",
	}[t.phase]
	return protocol.ErrUnavailable.With("topic %q is being %s: try again", t.topic.Name, what)
}

// list summarises all topics, sorted by name.
func (c *topicsCore) list() protocol.TopicList {
	l := protocol.TopicList{Topics: []protocol.TopicSummary{}}
	for name, t := range c.byName {
		if t.phase == topicCreating || t.phase == topicDeleting {
			continue
		}
		s := protocol.TopicSummary{Topic: name, Partitions: len(t.statuses)}
		for _, status := range t.statuses {
			p := status.Info()
			s.Messages += int64(p.EndOffset - p.LogStart)
			s.Bytes += p.Bytes
		}
		l.Topics = append(l.Topics, s)
	}
	slices.SortFunc(l.Topics, func(a, b protocol.TopicSummary) int { return strings.Compare(a.Topic, b.Topic) })
	return l
}

// failed lists the partitions that have stopped serving, sorted.
func (c *topicsCore) failed() []protocol.FailedPartition {
	out := []protocol.FailedPartition{}
	for name, t := range c.byName {
		for _, status := range t.statuses {
			if p := status.Info(); p.Error != "" {
				out = append(out, protocol.FailedPartition{Topic: name, Partition: p.Partition, Error: p.Error})
			}
		}
	}
	slices.SortFunc(out, func(a, b protocol.FailedPartition) int {
		if byName := strings.Compare(a.Topic, b.Topic); byName != 0 {
			return byName
		}
		return a.Partition.Compare(b.Partition)
	})
	return out
}

// routes is the picture for the gateway.
func (c *topicsCore) routes() *actors.Routes {
	r := &actors.Routes{Topics: make(map[string]*actors.TopicRoute, len(c.byName)), Deleting: map[string]bool{}}
	for name, t := range c.byName {
		if t.phase == topicDeleting {
			r.Deleting[name] = true
		}
		if t.phase == topicDeleting || len(t.pids) == 0 {
			continue
		}
		route := &actors.TopicRoute{
			Name: name, Born: t.topic.Born, Leaders: t.pids,
			Subjects: t.settings.Subjects, KeyToken: t.settings.KeyToken,
			AcceptPublish: !t.settings.NoPublish, AcceptSubscribe: !t.settings.NoSubscribe,
		}
		for _, s := range t.statuses {
			route.All = append(route.All, s.ID)
		}
		r.Topics[name] = route
	}
	return r
}

// fire returns the topics whose retention is due and, when there is any, the
// time of the next.
func (c *topicsCore) fire(now time.Time) (due []*topicEntry, next time.Time) {
	for _, t := range c.byName {
		if !t.fires.IsZero() && !t.fires.After(now) {
			due = append(due, t)
			t.schedule(now)
		}
		if !t.fires.IsZero() && (next.IsZero() || t.fires.Before(next)) {
			next = t.fires
		}
	}
	return due, next
}

// schedule finds the next time of the topic's retention.
func (t *topicEntry) schedule(now time.Time) {
	t.fires = time.Time{}
	if t.settings.RetainAt != nil {
		if at, ok := t.settings.RetainAt.Next(now); ok {
			t.fires = at
		}
	}
}

// overlay returns base with the fields of over that are set.
func overlay(base, over protocol.TopicConfig) protocol.TopicConfig {
	set(&base.DeletePolicy, over.DeletePolicy)
	set(&base.DeleteWhen, over.DeleteWhen)
	set(&base.RetentionBytes, over.RetentionBytes)
	set(&base.MaxSegmentSize, over.MaxSegmentSize)
	set(&base.UnflushThreshold, over.UnflushThreshold)
	set(&base.UnflushInterval, over.UnflushInterval)
	set(&base.Subjects, over.Subjects)
	set(&base.KeyToken, over.KeyToken)
	set(&base.DuplicateWindow, over.DuplicateWindow)
	set(&base.AcceptPublish, over.AcceptPublish)
	set(&base.AcceptSubscribe, over.AcceptSubscribe)
	return base
}

func set[T any](field **T, value *T) {
	if value != nil {
		*field = value
	}
}

// loadTopics reads the registry's topics, adds the configured ones that are not
// there and lets those grow whose configuration says more partitions. What the
// registry and the configuration say differently is an error that names both. When
// the registry is shared with other brokers, so is more partitions: their
// configurations say another number. A configured topic whose record cannot be read is left
// out: unserved says so.
func loadTopics(ctx context.Context, r actors.Registry, configured []actors.Topic, source string, shared bool) (topics []actors.Topic, unserved []error, err error) {
	if topics, err = r.Topics(ctx); err != nil {
		return nil, nil, fmt.Errorf("read the topics from the registry (%s): %w", r.Where(), err)
	}
	var errs []error
	for _, want := range configured {
		if err := protocol.CheckName("topic", want.Name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", source, err))
			continue
		}
		at := slices.IndexFunc(topics, func(t actors.Topic) bool { return t.Name == want.Name })
		if at < 0 {
			made, err := makeTopic(ctx, r, want)
			if errors.Is(err, errNotShown) {
				unserved = append(unserved, fmt.Errorf("topic %s of %s: the registry (%s) has a record of that name which cannot be read: correct it, or delete it", want.Name, source, r.Where()))
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("create topic %s of %s in the registry (%s): %w", want.Name, source, r.Where(), err))
				continue
			}
			topics, at = append(topics, made), len(topics)
		}
		have := &topics[at]
		if shared && want.Partitions > have.Partitions {
			errs = append(errs, fmt.Errorf("topic %s has %d partitions in the registry (%s) but %d in %s: all brokers must say the same, write %d there, or raise it with `metaq topic set %s --partitions %d`",
				have.Name, have.Partitions, r.Where(), want.Partitions, source, have.Partitions, have.Name, want.Partitions))
			continue
		}
		if err := contradiction(*have, want, r.Where(), source); err != nil {
			errs = append(errs, err)
			continue
		}
		if want.Partitions > have.Partitions {
			have.Partitions = want.Partitions
			if err := r.SetTopic(ctx, *have); err != nil {
				errs = append(errs, fmt.Errorf("give topic %s its %d partitions of %s in the registry (%s): %w",
					want.Name, want.Partitions, source, r.Where(), err))
			}
		}
		have.Config = overlay(want.Config, have.Config)
	}
	return topics, unserved, errors.Join(errs...)
}

// makeTopic creates a configured topic and returns it as it is: another broker may
// have been faster, with a configuration that says something else.
func makeTopic(ctx context.Context, r actors.Registry, want actors.Topic) (actors.Topic, error) {
	made, err := r.CreateTopic(ctx, want)
	if errors.Is(err, protocol.ErrExists) {
		found := foundTopic(ctx, r, &topicEntry{topic: want})
		return found.topic, found.err
	}
	return made, err
}

// contradiction says where a topic's two descriptions cannot both hold.
func contradiction(have, want actors.Topic, where, source string) error {
	if want.Partitions < have.Partitions {
		return fmt.Errorf("topic %s has %d partitions in the registry (%s) but %d in %s: partitions cannot become fewer, write %d there",
			have.Name, have.Partitions, where, want.Partitions, source, have.Partitions)
	}
	h, w := have.Config, want.Config
	for _, d := range []difference{
		differing("delete_policy", h.DeletePolicy, w.DeletePolicy),
		differing("delete_when", h.DeleteWhen, w.DeleteWhen),
		differing("retention_bytes", h.RetentionBytes, w.RetentionBytes),
		differing("max_segment_size", h.MaxSegmentSize, w.MaxSegmentSize),
		differing("unflush_threshold", h.UnflushThreshold, w.UnflushThreshold),
		differing("unflush_interval", h.UnflushInterval, w.UnflushInterval),
		differing("subjects", joined(h.Subjects), joined(w.Subjects)),
		differing("key_token", h.KeyToken, w.KeyToken),
		differing("duplicate_window", h.DuplicateWindow, w.DuplicateWindow),
		differing("accept_publish", h.AcceptPublish, w.AcceptPublish),
		differing("accept_subscribe", h.AcceptSubscribe, w.AcceptSubscribe),
	} {
		if d.differ {
			return fmt.Errorf("topic %s has %s %v in the registry (%s) but %v in %s: make them the same, or take it out of %s",
				have.Name, d.name, d.have, where, d.want, source, source)
		}
	}
	return nil
}

// difference is a field of two configurations.
type difference struct {
	name       string
	have, want any
	differ     bool // both are set, and not the same
}

func joined(list *[]string) *string {
	if list == nil {
		return nil
	}
	text := strings.Join(*list, ",")
	return &text
}

func differing[T comparable](name string, have, want *T) difference {
	d := difference{name: name}
	if have != nil && want != nil {
		d.have, d.want, d.differ = *have, *want, *have != *want
	}
	return d
}
