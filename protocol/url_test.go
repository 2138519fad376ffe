package protocol

import "testing"

func TestAPublicURLHasNoSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"nats://host:4222":                  "nats://host:4222",
		"nats://token@host:4222":            "nats://host:4222",
		"nats://user:pass@host:4222":        "nats://host:4222",
		"tls://user:p%40ss@[::1]:4222":      "tls://[::1]:4222",
		"nats://host:4222/path?token=x":     "nats://host:4222",
		"token@host:4222":                   "host:4222",
		"user:pass@host:4222":               "host:4222",
		"host:4222":                         "host:4222",
		"nats://user:pa ss@host:4222":       "nats://host:4222",
		"nats://user:pass@host:port":        "nats://host:port",
		"nats://us@er:pa@ss@host:4222/%zz@": "nats://",
		"":                                  "",
	} {
		if got := PublicURL(in); got != want {
			t.Errorf("PublicURL(%q) = %q, want %q", in, got, want)
		}
	}
	if got := PublicURLs([]string{"nats://t@a:1", "nats://b:2"}); got != "nats://a:1,nats://b:2" {
		t.Errorf("PublicURLs: %q", got)
	}
}
