package protocol

import "fmt"

// MaxNameLen is the longest name of a topic or a group, in bytes.
const MaxNameLen = 128

// CheckName returns nil when name may name a topic or a group: 1 to MaxNameLen
// of A-Z a-z 0-9 _ and -. The noun ("topic", "group") is used in the error.
func CheckName(noun, name string) error {
	if name == "" {
		return fmt.Errorf("%s name is empty; use 1-%d of A-Z a-z 0-9 _ -", noun, MaxNameLen)
	}
	if len(name) > MaxNameLen {
		return fmt.Errorf("%s name has %d characters; use 1-%d of A-Z a-z 0-9 _ -", noun, len(name), MaxNameLen)
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("%s name %q is not allowed; use 1-%d of A-Z a-z 0-9 _ -", noun, clip(name), MaxNameLen)
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
