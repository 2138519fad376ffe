package main

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/client"
)

func TestAPartitionThatStaysUnreadIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		well, ill := client.Position{}, client.Position{Partition: client.PartitionID{N: 1}, Err: errors.New("damaged")}
		healed := client.Position{Partition: ill.Partition}
		look := 0
		positions := func() []client.Position {
			look++
			switch look {
			case 4: // a moment's problem of another one
				return []client.Position{{Err: errors.New("away")}, ill}
			case 7:
				return []client.Position{well, healed}
			}
			return []client.Position{well, ill}
		}
		var said []string
		stop := sayUnread(t.Context(), "t", positions, func(err error) { said = append(said, fmt.Sprint(look, " ", err)) })
		<-time.After(10*time.Second + time.Millisecond)
		stop()
		want := []string{"2 t 0-1 is not read, trying again: damaged", "9 t 0-1 is not read, trying again: damaged"}
		if d := cmp.Diff(want, said); d != "" {
			t.Error(d)
		}
	})
}
