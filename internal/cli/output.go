package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrOutputClosed says that whoever read the output wants no more of it, as in
// `metaq consume t | head -1`. That is no problem: Report says nothing and the exit
// code is ExitOK.
var ErrOutputClosed = errors.New("the reader of the output has closed it")

// Output is a stream whose closed pipe is told apart from those of the network.
type Output struct{ W io.Writer }

// Write writes to W. Its error wraps ErrOutputClosed when the pipe is closed.
func (o Output) Write(p []byte) (int, error) {
	n, err := o.W.Write(p)
	if err != nil && isClosedPipe(err) {
		err = fmt.Errorf("%w: %w", ErrOutputClosed, err)
	}
	return n, err
}

// UntilClosed returns a context that also ends, for the cause ErrOutputClosed, when
// w is an Output to a pipe whose reader has gone, while nothing is written, too.
// The caller calls stop.
func UntilClosed(parent context.Context, w io.Writer) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	unwatch := func() {}
	if o, ok := w.(Output); ok {
		if f, ok := o.W.(*os.File); ok {
			unwatch = watchOutput(f, func() { cancel(ErrOutputClosed) })
		}
	}
	return ctx, func() {
		unwatch()
		cancel(nil)
	}
}
