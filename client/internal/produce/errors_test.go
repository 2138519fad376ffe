package produce

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"metaq/client/internal/link"
)

// A broker that is killed while a request is being written gives the system's
// own errors, which NATS hands on. They once failed the records for good.
func TestSocketErrorsAreALostConnection(t *testing.T) {
	for _, err := range []error{
		&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)},
		&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)},
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, nats.ErrStaleConnection, nats.ErrDisconnected,
	} {
		got := link.RequestError(t.Context(), err, "s", "nats://x")
		if v, maybe := judge(got, false); v != verdictRetry || !maybe || !errors.Is(got, link.ErrConnLost) {
			t.Errorf("%v: verdict %v, may be stored %v; want another try, since nobody knows", got, v, maybe)
		}
	}
	for _, err := range []error{nats.ErrMaxPayload, nats.ErrBadSubject, context.Canceled} {
		got := link.RequestError(t.Context(), err, "s", "nats://x")
		if v, _ := judge(got, false); v != verdictFail || !errors.Is(got, err) {
			t.Errorf("%v: verdict %v, want failure at once", got, v)
		}
	}
}
