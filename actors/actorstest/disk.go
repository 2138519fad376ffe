package actorstest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"metaq/actors"
	"metaq/protocol"
)

// ErrDisk is the error that tests have a disk return.
var ErrDisk = errors.New("input/output error")

// Disk is what survives the closing of fake logs: it is a LogStore.
type Disk struct {
	Mu      sync.Mutex // guards what follows
	Logs    map[string]*Log
	Aside   []string
	fail    map[string]error // of the next opens, by partition
	Opens   int
	Blocked chan struct{} // when set, opens wait for it
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	return &Disk{Logs: make(map[string]*Log), fail: make(map[string]error)}
}

// Open implements actors.LogStore.
func (d *Disk) Open(topic string, id protocol.PartitionID, _ actors.Settings) (actors.Log, error) {
	d.Mu.Lock()
	blocked := d.Blocked
	d.Mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	d.Mu.Lock()
	defer d.Mu.Unlock()
	d.Opens++
	name := topic + "-" + id.String()
	if err := d.fail[name]; err != nil {
		return nil, err
	}
	l, ok := d.Logs[name]
	if !ok {
		l = &Log{}
		d.Logs[name] = l
	}
	return l, l.Open()
}

// SetAside implements actors.LogStore.
func (d *Disk) SetAside(topic string, id protocol.PartitionID) error {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	name := topic + "-" + id.String()
	if l, ok := d.Logs[name]; ok {
		if l.IsOpen() {
			return fmt.Errorf("%s is open", name)
		}
		delete(d.Logs, name)
		d.Aside = append(d.Aside, name)
	}
	return nil
}

// Log returns the log of a partition, whose name is TOPIC-HOME-N.
func (d *Disk) Log(t testing.TB, name string) *Log {
	t.Helper()
	d.Mu.Lock()
	defer d.Mu.Unlock()
	l, ok := d.Logs[name]
	if !ok {
		t.Fatalf("no log %s", name)
	}
	return l
}

// SetFail has the next opens of a partition fail; nil ends that.
func (d *Disk) SetFail(name string, err error) {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	d.fail[name] = err
}
