package local

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// goldenTree is version 1 of the file: it must stay readable for ever.
const goldenTree = "4d515247" + "9920f21b" + "01" + "0000000000000010" +
	"02" + "2f61" + "ac02" + "03" + "6f6e65" + // /a, version 300, "one"
	"04" + "2f612f62" + "00" + "00" // /a/b, version 0, no data

func sampleTree() *tree {
	t := newTree()
	t.link("/a", &znode{data: []byte("one"), version: 300})
	t.link("/a/b", &znode{})
	t.link("/e", &znode{data: []byte("gone"), owner: 7})
	return t
}

func TestTreeFileHasItsGoldenBytes(t *testing.T) {
	got := hex.EncodeToString(encodeTree(sampleTree()))
	if got != goldenTree {
		t.Fatalf("file is\n%s, want\n%s", got, goldenTree)
	}
}

func TestDecodeTreeRefusesEveryDamagedByte(t *testing.T) {
	good := encodeTree(sampleTree())
	if _, err := decodeTree(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x20
		if _, err := decodeTree(bad); err == nil {
			t.Errorf("byte %d changed and not noticed", i)
		}
		if _, err := decodeTree(good[:i]); err == nil {
			t.Errorf("file cut to %d bytes and not noticed", i)
		}
	}
}

func FuzzDecodeTree(f *testing.F) {
	f.Add(encodeTree(sampleTree()))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := decodeTree(b)
		if err != nil {
			return
		}
		if again := encodeTree(tree); !bytes.Equal(b, again) {
			t.Fatalf("%x decodes and encodes to %x", b, again)
		}
	})
}
