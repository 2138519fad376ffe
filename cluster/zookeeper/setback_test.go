package zookeeper

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// scripted is a server that says the same whatever it is told.
type scripted struct {
	io.Reader
	heard bytes.Buffer
}

func (s *scripted) Write(p []byte) (int, error) { return s.heard.Write(p) }

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	greets   = "00000024 00000000 00000fa0 0000000000000007 00000010 00000000000000000000000000000000"
	refuses  = "00000024 00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000"
	authDone = "00000010 fffffffc 0000000000000000 00000000"
	closed   = "00000010 00000001 0000000500000009 00000000"
	denied   = "00000010 00000001 0000000000000000 ffffff84"
)

func TestAStrangerAsksForTheNewestTransaction(t *testing.T) {
	for name, c := range map[string]struct {
		auth, says string
		newest     int64
		err        string
	}{
		"a server that serves":                  {"", greets + closed, 5<<32 + 9, ""},
		"one that wants to know who asks":       {"me:secret", greets + authDone + closed, 5<<32 + 9, ""},
		"one that is closed to strangers":       {"", greets + denied, 0, "error -124"},
		"one that does not know us":             {"me:wrong", greets + denied, 0, "authenticate"},
		"one that hangs up":                     {"", "", 0, "EOF"},
		"one that hangs up after its greeting":  {"", greets, 0, "EOF"},
		"one that gives no session":             {"", refuses, 0, "no session"},
		"one that does not speak ZooKeeper":     {"", hex.EncodeToString([]byte("HTTP/1.1 400 Bad Request")), 0, "not as ZooKeeper does"},
		"one that says less than an answer has": {"", greets + "00000004 00000001", 0, "not as ZooKeeper does"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{Reader: bytes.NewReader(bytesOf(t, c.says))}
			newest, err := askNewest(s, 4*time.Second, c.auth)
			if newest != c.newest || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%#x, %v", newest, err)
			}
		})
	}
}

func TestWhatAStrangerSays(t *testing.T) {
	s := &scripted{Reader: bytes.NewReader(bytesOf(t, greets+authDone+closed))}
	if _, err := askNewest(s, 4*time.Second, "a:b"); err != nil {
		t.Fatal(err)
	}
	want := bytesOf(t, `0000002c 00000000 0000000000000000 00000fa0 0000000000000000 00000010 00000000000000000000000000000000
		0000001d fffffffc 00000064 00000000 00000006 646967657374 00000003 613a62
		00000008 00000001 fffffff5`)
	if !bytes.Equal(s.heard.Bytes(), want) {
		t.Errorf("it says\n%x, not\n%x", s.heard.Bytes(), want)
	}
	broken := &scripted{Reader: failingReader{}}
	if _, err := askNewest(broken, time.Second, ""); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken connection: %v", err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }
