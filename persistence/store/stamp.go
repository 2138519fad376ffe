package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"metaq/internal/vfs"
)

// stampName is the file in a data directory that says whose data this is.
const stampName = "broker.json"

// stamp is the content of stampName.
type stamp struct {
	BrokerID int    `json:"broker_id"`
	Token    string `json:"token"` // tells a restart of this broker from another one with its id
	// Sum is the CRC32C of both in hex: a token has no form of its own that would
	// show damage. Releases before it wrote none, and overlook it.
	Sum string `json:"crc32c,omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is what Sum must be.
func (s *stamp) sum() string {
	return fmt.Sprintf("%08x", crc32.Checksum(fmt.Appendf(nil, "%d %s", s.BrokerID, s.Token), castagnoli))
}

var errBadStamp = errors.New("not a broker's stamp, or a damaged one")

func parseStamp(b []byte) (*stamp, error) {
	var s stamp
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields() // a damaged name must not look like an absent field
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadStamp, err)
	}
	if s.Token == "" || s.Sum != "" && s.Sum != s.sum() {
		return nil, errBadStamp
	}
	return &s, nil
}

// readStamp returns nil when there is no stamp, or a damaged one, which is set
// aside and noted: then the partitions' names have to do.
func (d *Dirs) readStamp(dir string) (*stamp, error) {
	path := d.FS.PathJoin(dir, stampName)
	b, err := vfs.ReadFile(d.FS, path, 1<<16)
	if vfs.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := parseStamp(b)
	if err == nil {
		return s, nil
	}
	aside, err := vfs.SetAside(d.FS, path, "corrupt")
	if err != nil {
		return nil, err
	}
	d.SetAside = append(d.SetAside, replaced{path, aside})
	return nil, nil
}

// replaced is a damaged file that is made again, and under which path it is kept.
type replaced struct{ Path, Kept string }

// writeStamp publishes the stamp of this broker.
func (d *Dirs) writeStamp(dir, token string) error {
	s := stamp{BrokerID: d.Home, Token: token}
	s.Sum = s.sum()
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return vfs.Publish(d.FS, dir, stampName, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}
