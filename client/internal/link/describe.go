package link

import (
	"context"
	"fmt"
	"sync"

	"metaq/protocol"
)

// description is a question for a topic's description that several may wait for.
type description struct {
	once sync.Once
	done chan struct{} // closed when the answer is there
	info protocol.TopicInfo
	err  error
}

// Describe returns a topic's description. All who ask for the same topic at a time share
// one question, which continues when one of them leaves: when a broker comes back, each of
// the partitions of a wide topic asks whether it still exists.
func (c *Caller) Describe(ctx context.Context, topic string) (protocol.TopicInfo, error) {
	v, _ := c.describing.LoadOrStore(topic, &description{done: make(chan struct{})})
	d, ok := v.(*description)
	if !ok {
		return protocol.TopicInfo{}, protocol.ErrInternal.With("no description of topic %s", topic)
	}
	d.once.Do(func() {
		go func() {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), RequestTimeout)
			defer cancel()
			d.info, d.err = c.DescribeTopic(bounded, topic)
			c.describing.Delete(topic)
			close(d.done)
		}()
	})
	select {
	case <-d.done:
		return d.info, d.err
	case <-ctx.Done():
		return protocol.TopicInfo{}, ctx.Err()
	}
}

// DescribeTopic describes a topic in a request of its own.
func (c *Caller) DescribeTopic(ctx context.Context, topic string) (info protocol.TopicInfo, err error) {
	if err = CheckTopic(topic); err != nil {
		return info, err
	}
	if info, err = c.TopicInfo(ctx, topic, false); err != nil {
		err = fmt.Errorf("topic info %s: %w", topic, err)
	}
	return info, err
}
