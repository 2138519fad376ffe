package zktest

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestThreeServersHaveOneLeaderAndSurviveItsDeath(t *testing.T) {
	e := Start(t, 3)
	leader := func() (found *Server) {
		for _, s := range e.Servers {
			if mode, err := s.Mode(t.Context()); err == nil && mode == "leader" {
				if found != nil {
					t.Fatal("two leaders")
				}
				found = s
			}
		}
		return found
	}
	first := leader()
	if first == nil {
		t.Fatal("no leader")
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := e.WaitQuorum(t.Context()); err != nil {
		t.Fatal(err)
	}
	for leader() == nil {
		if err := e.WaitQuorum(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	if err := e.WaitQuorum(t.Context()); err != nil {
		t.Fatal(err)
	}
}
