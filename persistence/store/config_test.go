package store

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"metaq/configs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is the configuration of a broker with these flags.
func config(t testing.TB, flags map[string]string) *configs.Server {
	t.Helper()
	cfg, err := configs.Load(configs.LoadOptions{Flags: flags, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
