package client

// StartBrokerForTest starts a NATS server with a broker in memory, for the
// examples, which are outside the package and have no testing.T.
func StartBrokerForTest() (url string, stop func()) {
	b := newFakeBroker()
	b.autoCreate = true
	s := &fakeServer{b: b, port: randomPort}
	if err := s.start(); err != nil {
		panic(err)
	}
	return s.url(), s.stop
}
