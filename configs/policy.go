package configs

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The actions of a DeletePolicy.
const (
	ActionDelete  = "delete"
	ActionArchive = "archive"
)

// DeletePolicy says what happens to closed segments that are older than Age.
type DeletePolicy struct {
	Action   string        // ActionDelete or ActionArchive
	Age      time.Duration // 0: every closed segment
	Compress bool          // only with ActionArchive: compress instead of rename
}

// ParseDeletePolicy reads "delete,AGE" or "archive,AGE[,true|false]". AGE is a
// number of hours or has a unit: 168, 168h, 10m, 10s, 1h30m.
func ParseDeletePolicy(text string) (DeletePolicy, error) {
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	p := DeletePolicy{Action: parts[0]}
	most := map[string]int{ActionDelete: 2, ActionArchive: 3}[p.Action]
	if len(parts) < 2 || len(parts) > most {
		return DeletePolicy{}, errors.New("write delete,AGE or archive,AGE or archive,AGE,true, such as delete,168 (hours)")
	}
	var err error
	if p.Age, err = parseDuration(parts[1], "hours"); err != nil {
		return DeletePolicy{}, err
	}
	if p.Age < 0 {
		return DeletePolicy{}, fmt.Errorf("the age %s is negative; use 0 or more", parts[1])
	}
	if len(parts) == 3 {
		if p.Compress, err = parseBool(parts[2]); err != nil {
			return DeletePolicy{}, err
		}
	}
	return p, nil
}

// String gives the text that ParseDeletePolicy reads; "" for the zero value.
func (p DeletePolicy) String() string {
	if p.Action == "" {
		return ""
	}
	text := p.Action + "," + formatDuration(p.Age)
	if p.Compress {
		text += ",true"
	}
	return text
}
