package freeze

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// awaitStop leaves the news of the stop where it is, so that it is found again.
func awaitStop(p *os.Process) error {
	for {
		err := unix.Waitid(unix.P_PID, p.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
