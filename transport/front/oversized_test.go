package front_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"metaq/transport/front"
)

// The message with a large header block is dropped where it came, on each way and however the
// bytes are cut; what comes before and after it is not touched.
func TestAMessageWithALargeHeaderBlockIsDropped(t *testing.T) {
	block := "NATS/1.0\r\nA: " + strings.Repeat("a", front.MaxHeader) + "\r\n\r\n"
	for name, connect := range map[string]string{
		"straight":      `CONNECT {"verbose":false,"pedantic":false,"headers":true}`,
		"by the server": `CONNECT {"verbose":false,"pedantic":true,"headers":true}`,
	} {
		for _, size := range []int{1, 1000, 1 << 20} {
			t.Run(fmt.Sprint(name, " in pieces of ", size), func(t *testing.T) {
				s := newStand(t, 64<<20)
				socket, err := net.Dial("tcp", s.front.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer socket.Close()
				said := connect + "\r\nPING\r\nPUB q.put.t 6\r\nbefore\r\n" +
					fmt.Sprintf("HPUB q.put.t %d %d\r\n%spayload\r\n", len(block), len(block)+len("payload"), block) +
					"PUB q.put.t 5\r\nafter\r\n"
				if size == 1 { // the end of the payload byte by byte
					cut := len(said) - 40
					if _, err := fmt.Fprint(socket, said[:cut]); err != nil {
						t.Fatal(err)
					}
					said = said[cut:]
				}
				for len(said) > 0 {
					n := min(size, len(said))
					if _, err := fmt.Fprint(socket, said[:n]); err != nil {
						t.Fatal(err)
					}
					said = said[n:]
				}
				eventually(t, "all came", func() bool { straight, around := s.seen(); return straight+around == 3 })
				s.mu.Lock()
				defer s.mu.Unlock()
				if all := append(s.straight, s.around...); all[0] != "before" || all[1] != "" || all[2] != "after" {
					t.Errorf("%q", all)
				}
			})
		}
	}
}
