package vfs

import "errors"

// IsDiskFull says whether err means that the disk, or the quota on it, has no
// room left.
func IsDiskFull(err error) bool {
	for _, full := range diskFull {
		if errors.Is(err, full) {
			return true
		}
	}
	return false
}
