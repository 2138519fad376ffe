package persistence

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// A vandal damages one file of a log that was closed, or whose machine stopped,
// and judges what becomes of it.
type vandal struct {
	*world
	clean bool   // the log was closed
	kind  string // what the vandal does
	path  string
	from  int64 // the bytes from..to are damaged
	to    int64
	files map[string][]byte // all files before Open
}

// vandalize runs the vandal of seed and returns what went wrong.
func vandalize(seed uint64) (kind string, err error) {
	v := &vandal{world: newWorld(seed)}
	defer v.rescue(&err)
	v.build()
	v.strike()
	v.judgeDamage()
	return v.kind, nil
}

// build fills the log.
func (v *vandal) build() {
	v.reopen()
	for range 20 + v.rng.IntN(40) {
		v.clock.advance(time.Second)
		if err := v.append(); err != nil {
			v.failf("append: %v", err)
		}
		if v.rng.IntN(2) == 0 {
			v.must(v.sync())
		}
		if v.rng.IntN(15) == 0 {
			v.must(v.setEpoch())
		}
	}
	v.must(v.sync())
	if v.clean = v.rng.IntN(2) == 0; v.clean {
		v.must(v.log.Close())
		return
	}
	v.fs.Stop()
	v.fs = v.fs.Crash(0)
}

func (v *vandal) must(err error) {
	if err != nil {
		v.failf("unexpected error: %v", err)
	}
}

func (v *vandal) readFiles() map[string][]byte {
	names, err := v.fs.List(worldDir)
	v.must(err)
	files := map[string][]byte{}
	for _, name := range names {
		b, err := vfs.ReadFile(v.fs, v.fs.PathJoin(worldDir, name), 1<<30)
		v.must(err)
		files[name] = b
	}
	return files
}

// strike damages one file at a random place.
func (v *vandal) strike() {
	files := v.readFiles()
	// The order of a map is random, the world must not be.
	names := slices.Sorted(maps.Keys(files))
	names = slices.DeleteFunc(names, func(name string) bool { return len(files[name]) == 0 }) // an index may be
	name := names[v.rng.IntN(len(names))]
	b := bytes.Clone(files[name])
	v.path = v.fs.PathJoin(worldDir, name)
	at := v.rng.IntN(len(b))
	n := 1 + v.rng.IntN(min(len(b)-at, 300))
	v.from, v.to = int64(at), int64(at+n)
	switch v.rng.IntN(5) {
	case 0:
		v.kind, v.to = "flip", v.from+1
		b[at] ^= byte(1 << v.rng.IntN(8))
	case 1:
		v.kind, v.to = "cut", int64(len(b))
		b = b[:at]
	case 2:
		v.kind = "zero"
		clear(b[at : at+n])
	case 3:
		v.kind = "repeat"
		copy(b[at:at+n], files[name][v.rng.IntN(len(b)-n+1):])
	case 4:
		v.kind = "remove"
		v.from, v.to = 0, int64(len(b))
		v.must(v.fs.Remove(v.path))
	}
	if v.kind != "remove" {
		f, err := v.fs.Create(v.path)
		v.must(err)
		_, err = f.WriteAt(b, 0)
		v.must(err)
		v.must(f.Sync())
		v.must(f.Close())
	}
	v.must(vfs.SyncDir(v.fs, worldDir))
	v.tracef("%s %s from %d to %d, clean %t", v.kind, name, v.from, v.to, v.clean)
	v.files = v.readFiles()
}

// judgeDamage opens the log: whatever was done to it, no wrong record comes
// out of it, nothing durable is lost in silence, and damage changes no file.
func (v *vandal) judgeDamage() {
	least := v.proven()
	report, err := Inspect(v.fs, worldDir)
	if err != nil && v.kind != "remove" {
		v.failf("inspect: %v", err)
	}
	if d := cmpFiles(v.files, v.readFiles()); d != "" {
		v.failf("inspection changed %s", d)
	}
	l, r, err := Open(v.options())
	var damage *DamageError
	if errors.As(err, &damage) {
		v.isLog(damage)
		if d := cmpFiles(v.files, v.readFiles()); d != "" {
			v.failf("damage was found, and %s changed", d)
		}
		if len(report.Damage) == 0 {
			v.failf("Open found %v, the inspection only %+v", err, report)
		}
		return
	}
	v.must(err)
	v.log = l
	if next := l.Next(); next < least {
		v.failf("%d records were durable and are proven to be, %d are left: %+v", least, next, r)
	} else if blank := v.kind == "cut" || v.kind == "zero"; int(next) < len(v.sent) && r.TornFile == "" && !blank {
		// A log that ends at the end of a batch looks like one that never went on.
		v.failf("%d of %d records are left, and nothing is said: %+v", next, len(v.sent), r)
	}
	// To remove the oldest segment is what retention does, too.
	if oldest := v.kind == "remove" && strings.HasSuffix(v.path, "/"+baseName(0)+segmentSuffix); (l.Start() != 0) != oldest {
		v.failf("the log starts at %d", l.Start())
	}
	v.readThrough(report)
	if strings.HasSuffix(v.path, stateName) && (l.LastEpoch() != v.sent[len(v.sent)-1].epoch && l.LastEpoch() != v.epoch) {
		v.failf("epoch %d was made again from the log as %d", v.epoch, l.LastEpoch())
	}
	v.must(l.Close())
	v.nothingDeleted()
}

// isLog fails when something derived was called damaged.
func (v *vandal) isLog(damage *DamageError) {
	if !strings.HasSuffix(v.path, segmentSuffix) {
		v.failf("only %s was touched, and %v", v.path, damage)
	}
	if damage.Path == "" || damage.Why == "" {
		v.failf("%#v does not say where", damage)
	}
}

// proven is the offset below which the log must not lose a record in silence:
// what the state file says, and what whole batches behind the damage say.
func (v *vandal) proven() protocol.Offset {
	if !strings.HasSuffix(v.path, segmentSuffix) {
		return protocol.Offset(v.acked)
	}
	s, err := decodeState(v.files[stateName])
	v.must(err)
	least := s.reached()
	base, _ := parseBase(v.fs.PathBase(v.path), segmentSuffix)
	for name, b := range v.files {
		if other, ok := parseBase(name, segmentSuffix); ok && other > base {
			least = max(least, other)
		}
		if v.fs.PathJoin(worldDir, name) != v.path || v.to >= int64(len(b)) {
			continue
		}
		for at := v.to; at < int64(len(b)); at++ {
			h, err := protocol.ParseBatchHeader(b[at:])
			if err == nil && protocol.VerifyChecksum(&h, b[at:]) == nil {
				least = max(least, h.Base-protocol.Offset(h.Unsynced))
			}
		}
	}
	return least
}

// readThrough reads every record that is left, over damage too.
func (v *vandal) readThrough(report Report) {
	l := v.log
	damaged := false
	for at := l.Start(); at < l.Next(); {
		b, err := l.Read(nil, at, l.Next(), 1+v.rng.IntN(2000))
		var damage *DamageError
		if errors.As(err, &damage) {
			v.isLog(damage)
			damaged = true
			at++
			continue
		}
		v.must(err)
		if len(b) == 0 {
			v.failf("read at %d returned nothing", at)
		}
		for len(b) > 0 {
			h, err := protocol.ParseBatchHeader(b)
			v.must(err)
			v.compareBatch(&h, b)
			at, b = h.Next(), b[h.Length:]
		}
	}
	if damaged && len(report.Damage) == 0 {
		v.failf("a read found damage, the inspection only %+v", report)
	}
	if !damaged {
		v.clock.advance(time.Second)
		for range 5 {
			v.lookUpTime()
		}
	}
}

// nothingDeleted looks for every log file and for the bad state file.
func (v *vandal) nothingDeleted() {
	after := v.readFiles()
	for name, b := range v.files {
		if _, ok := after[name]; !ok && strings.HasSuffix(name, segmentSuffix) {
			v.failf("%s is gone", name)
		}
		if name != stateName || v.path != v.fs.PathJoin(worldDir, stateName) || v.kind == "remove" {
			continue
		}
		if _, err := decodeState(b); err != nil && !bytes.Equal(after[stateName+".set-aside-corrupt-1"], b) {
			v.failf("the corrupt state file was not set aside")
		}
	}
}

func cmpFiles(a, b map[string][]byte) string {
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			return name
		}
	}
	if len(a) != len(b) {
		return "the list of files"
	}
	return ""
}

// TestDamage flips, cuts, zeroes, repeats and removes bytes anywhere in segments,
// indexes and state files.
func TestDamage(t *testing.T) {
	if *seed != 0 {
		if _, err := vandalize(*seed); err != nil {
			t.Fatal(err)
		}
		return
	}
	kinds, vandals := map[string]int{}, uint64(300+*seeds/10)
	for n := uint64(1); n <= vandals; n++ {
		kind, err := vandalize(n)
		if err != nil {
			t.Fatalf("%v\nrepeat it with: go test ./persistence -run TestDamage -seed=%d", err, n)
		}
		kinds[kind]++
	}
	t.Logf("%d seeds: %v", vandals, kinds)
	if len(kinds) != 5 {
		t.Fatalf("only %v was done", kinds)
	}
}
