package protocol

import "testing"

// BenchmarkDecodeRequest reads the requests that members and readers send all the time.
func BenchmarkDecodeRequest(b *testing.B) {
	for name, tt := range map[string]struct {
		body string
		into func() any
	}{
		"heartbeat": {`{"member":"consumer-7f3a9c","generation":12,"revision":4711,"wait_ms":3000}`, func() any { return new(GroupHeartbeat) }},
		"commit": {`{"member":"consumer-7f3a9c","generation":12,"offsets":[{"topic":"orders","partition":"0-0","offset":123456},` +
			`{"topic":"orders","partition":"0-1","offset":123457},{"topic":"orders","partition":"1-0","offset":9876543210}]}`, func() any { return new(GroupCommit) }},
		"get": {`{"offset":123456,"max_bytes":1048576,"wait_ms":1000,"format":"batch","answers":4}`, func() any { return new(GetRequest) }},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			body := []byte(tt.body)
			for b.Loop() {
				if err := DecodeRequest(body, tt.into()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
