package group

import (
	"fmt"
	"log/slog"
	"testing"

	"metaq/actors/group/core"
)

func TestATimerOfEarlierBeginsEndsNoWait(t *testing.T) {
	g := &groups{groupsShared: &groupsShared{log: slog.New(slog.DiscardHandler)}, begins: newUnmirroredBegins()}
	g.begins.due["g"] = map[string]core.Begin{"t": {Topic: "t"}}
	g.begins.wait["g"] = 2
	if g.beginsLate(nil, beginsLate{"g", 1}); g.begins.late["g"] {
		t.Error("the timer of begins that the registry has taken ended the wait for later ones")
	}
	if g.beginsLate(nil, beginsLate{"g", 2}); !g.begins.late["g"] {
		t.Error("its own timer did not end the wait")
	}
}

// A call that has to write the begins of all groups of a large broker would not end in time,
// and the next one would begin with the same.
func TestTheBeginsOfManyGroupsAreMirroredInParts(t *testing.T) {
	g := &groups{begins: newUnmirroredBegins()}
	for i := range 2*beginsAtOnce + 1 {
		g.begins.due[fmt.Sprint("g", i)] = map[string]core.Begin{"t": {Topic: "t"}}
	}
	if n := len(g.takeUnmirrored(true, beginsAtOnce)); n != beginsAtOnce {
		t.Errorf("one call has the begins of %d groups", n)
	}
}
