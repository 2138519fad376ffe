package groups

import (
	"testing"

	"metaq/client"
	"metaq/protocol"
)

// A topic is deleted and made again, and grows past what the group had committed in the
// old one. The group gets all of the new one, whether its members were there or not, and
// also after the broker was restarted in between.
func TestATopicThatWasMadeAgainIsConsumedFromItsStart(t *testing.T) {
	for name, c := range map[string]struct{ away, restart bool }{
		"members are there": {}, "members are away": {away: true}, "members are away, broker restarts": {away: true, restart: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cl := connect(t, w.url)
			b := newBook()
			produce(t, cl, 0, 400)
			con := consume(t, cl, b.handler("one"), b.forget("one"))
			await(t, "all of the old topic", func() bool { n, _, _ := b.count(); return n == 400 })
			if c.away {
				closeConsumer(t, con)
			}
			admin := cl.Admin()
			if err := admin.DeleteTopic(t.Context(), "orders"); err != nil {
				t.Fatal(err)
			}
			if _, err := admin.CreateTopic(t.Context(), protocol.TopicCreate{Topic: "orders", Partitions: 4}); err != nil {
				t.Fatal(err)
			}
			produce(t, cl, 400, 1600)
			if c.restart {
				w.restart()
			}
			if c.away {
				var offsets []protocol.GroupPosition
				await(t, "the group", func() (known bool) {
					var err error
					offsets, err = admin.GroupOffsets(t.Context(), "g")
					return err == nil && len(offsets) > 0
				})
				for _, o := range offsets {
					if o.Offset != 0 {
						t.Errorf("offset of %s is %d in the new topic", o.At(), o.Offset)
					}
				}
				await(t, "the lag of all of it", func() bool { return lag(t, cl) == 1600 })
				con = consume(t, cl, b.handler("two"), b.forget("two"), client.ConsumeFrom(client.Latest()))
			}
			await(t, "all of the new topic", func() bool { n, _, _ := b.count(); return n == 2000 })
			await(t, "no lag", func() bool { return lag(t, cl) == 0 })
			w.restart() // what was committed in the new topic stays
			produce(t, cl, 2000, 10)
			await(t, "what came then", func() bool { n, _, _ := b.count(); return n == 2010 })
			if _, all, _ := b.count(); c.away && all != 2010 {
				t.Errorf("%d records were processed of 2010", all)
			}
			if con.Err() != nil {
				t.Error(con.Err())
			}
		})
	}
}
