package messagedir

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"metaq/client"
	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

func TestKeptRecordsOutliveTheStore(t *testing.T) {
	fsys := faultfs.New(0)
	s := open(t, fsys, Options{})
	for _, i := range []int{1, 2, 3, 2} { // 2 is kept already
		if err := s.Keep(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	again := record(2)
	again.Value = []byte("of a topic that was made again")
	if err := s.Keep(again); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Drop(1), s.Drop(1), s.Drop(99)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Keep(record(4)); !errors.Is(err, client.ErrClosed) {
		t.Fatalf("kept after Close: %v", err)
	}
	s = open(t, fsys, Options{})
	defer s.Close()
	if got := held(t, s); !slices.Equal(got, []client.Offset{2, 3, 2}) {
		t.Fatalf("%v", got)
	}
	if err := s.Keep(record(4)); err != nil {
		t.Fatal(err)
	}
	if got := held(t, s); !slices.Equal(got, []client.Offset{2, 3, 2, 4}) {
		t.Fatalf("%v", got)
	}
}

func TestAFullStoreRefusesAndLosesNothing(t *testing.T) {
	fsys := faultfs.New(0)
	room := 3 * (entrySize + int64(len(encoded(t, record(1)))))
	s := open(t, fsys, Options{Limit: room})
	defer s.Close()
	for i := range 3 {
		if err := s.Keep(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Keep(record(3))
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "/logs/g/kept.log") {
		t.Fatal(err)
	}
	if err := s.Keep(record(2)); err != nil {
		t.Fatalf("what is kept already: %v", err)
	}
	if got := held(t, s); !slices.Equal(got, []client.Offset{0, 1, 2}) {
		t.Fatalf("%v", got)
	}
	if err := s.Drop(2); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(record(3)); err != nil {
		t.Fatalf("there is room again: %v", err)
	}
}

func TestAFileStaysShort(t *testing.T) {
	fsys := faultfs.New(1)
	d := NewWith("/logs", Options{FS: fsys})
	d.slack = 1000
	s, err := d.open("g", "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	live := int64(len(encoded(t, record(100)))) + entrySize
	for i := range 200 {
		if err := s.Keep(record(100 + i)); err != nil {
			t.Fatal(err)
		}
		numbers, err := s.Kept()
		if err != nil {
			t.Fatal(err)
		}
		if len(numbers) > 5 {
			if err := s.Drop(numbers[0]); err != nil {
				t.Fatal(err)
			}
		}
		if most := 2*6*live + 1000 + live; fsys.Used() > most {
			t.Fatalf("%d bytes for %d records of %d", fsys.Used(), len(numbers), live)
		}
	}
	if got := held(t, s); len(got) != 5 || got[4] != 299 {
		t.Fatalf("%v", got)
	}
}

func TestADamagedFileIsNamedAndLeftAlone(t *testing.T) {
	good := write(t,
		entry{kind: kindKept, number: 1, record: encoded(t, record(1))},
		entry{kind: kindKept, number: 2, record: encoded(t, record(2))},
	)
	at := len(write(t)) + entrySize
	damaged := slices.Clone(good)
	damaged[at] ^= 1
	fsys := faultfs.New(0)
	put := func(b []byte) {
		t.Helper()
		if err := vfs.MakeDir(fsys, "/logs/g"); err != nil {
			t.Fatal(err)
		}
		f, err := fsys.Create("/logs/g/kept.log")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(slices.Clone(b)); err != nil { // it may spoil what it is given
			t.Fatal(err)
		}
	}
	put(damaged)
	for range 2 { // the first try has not kept the lock
		_, err := NewWith("/logs", Options{FS: fsys}).OpenConsumer("g", "")
		var d *DamageError
		if !errors.As(err, &d) || d.Path != "/logs/g/kept.log" || d.Pos != int64(len(write(t))) || !strings.Contains(err.Error(), "move it away") {
			t.Fatal(err)
		}
	}
	if b, err := vfs.ReadFile(fsys, "/logs/g/kept.log", 1<<20); err != nil || !slices.Equal(b, damaged) {
		t.Fatalf("the file was changed: %v", err)
	}
	put(good)
	s := open(t, fsys, Options{})
	defer s.Close()
	// Damage that comes later is found when the record is read.
	f, err := fsys.OpenReadWrite("/logs/g/kept.log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{0}, int64(at)+5); err != nil {
		t.Fatal(err)
	}
	var d *DamageError
	if _, err := s.Record(1); !errors.As(err, &d) {
		t.Fatal(err)
	}
	if r, err := s.Record(2); err != nil || r.Offset != 2 {
		t.Fatalf("the one beside it: %+v, %v", r, err)
	}
}

func TestOneConsumerAtATime(t *testing.T) {
	t.Chdir(t.TempDir())
	first, err := New("logs").OpenConsumer("g", "one")
	if err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs("logs")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"logs", "./logs/", abs} {
		_, err := New(path).OpenConsumer("g", "one")
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "g/one") || !strings.Contains(err.Error(), "--instance") {
			t.Fatalf("%s: %v", path, err)
		}
	}
	for _, name := range [][2]string{{"g", ""}, {"g", "two"}, {"h", "one"}} {
		s, err := New("logs").OpenConsumer(name[0], name[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := New("logs").OpenConsumer("g", "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNamesStayInTheDirectory(t *testing.T) {
	for _, name := range [][2]string{{"", ""}, {"..", ""}, {"g", ".."}, {"a/b", ""}, {"g", "kept.log"}, {"g", strings.Repeat("x", protocol.MaxNameLen+1)}} {
		if _, err := NewWith("/logs", Options{FS: faultfs.New(0)}).OpenConsumer(name[0], name[1]); err == nil {
			t.Errorf("group %q, instance %q was opened", name[0], name[1])
		}
	}
	long := strings.Repeat("x", protocol.MaxNameLen)
	s, err := New(t.TempDir()).OpenConsumer(long, long)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Keep(record(1)); err != nil {
		t.Fatal(err)
	}
}

func TestLimitsAreChecked(t *testing.T) {
	for _, limit := range []int64{-1, MaxLimit + 1} {
		if _, err := NewWith("/logs", Options{FS: faultfs.New(0), Limit: limit}).OpenConsumer("g", ""); err == nil {
			t.Errorf("a limit of %d was taken", limit)
		}
	}
}

// oracle is what the caller of a Store knows.
type oracle struct {
	sure  map[client.Offset]bool // Keep has returned nil, and Drop was not called
	maybe map[client.Offset]bool // of these nobody knows
}

// judge compares what was found with what is known.
func (o *oracle) judge(found []client.Offset) error {
	for _, at := range found {
		if !o.sure[at] && !o.maybe[at] {
			return fmt.Errorf("%d is kept, which was never kept or is done", at)
		}
	}
	for at := range o.sure {
		if !slices.Contains(found, at) {
			return fmt.Errorf("%d was kept and is gone", at)
		}
	}
	if sorted := slices.Sorted(slices.Values(found)); len(slices.Compact(sorted)) != len(found) {
		return fmt.Errorf("%v: one is there twice", found)
	}
	return nil
}

// plot works on a store until the machine stops; what fails is tried again.
func plot(fsys *faultfs.FS, o *oracle) error {
	d := NewWith("/logs", Options{FS: fsys})
	d.slack = 200 // the file is rewritten on the way
	for range 2 { // two processes
		s, err := d.open("g", "")
		for range 3 {
			if err == nil || errors.Is(err, faultfs.ErrCrashed) {
				break
			}
			s, err = d.open("g", "")
		}
		if err != nil {
			return err
		}
		base := client.Offset(10 * len(o.sure))
		for at := base + 1; at <= base+5; at++ {
			o.maybe[at] = true
			if err := persist(func() error { return s.Keep(record(int(at))) }); err != nil {
				return err
			}
			delete(o.maybe, at)
			o.sure[at] = true
		}
		var numbers []int64
		if err := persist(func() (err error) { numbers, err = s.Kept(); return err }); err != nil {
			return err
		}
		for _, n := range numbers[:len(numbers)/2+1] {
			var r client.Record
			if err := persist(func() (err error) { r, err = s.Record(n); return err }); err != nil {
				return err
			}
			delete(o.sure, r.Offset)
			o.maybe[r.Offset] = true
			if err := persist(func() error { return s.Drop(n) }); err != nil {
				return err
			}
			delete(o.maybe, r.Offset)
		}
		_ = s.Close()
	}
	return nil
}

// persist tries until it works, or the machine has stopped.
func persist(try func() error) (err error) {
	for range 4 {
		if err = try(); err == nil || errors.Is(err, faultfs.ErrCrashed) {
			return err
		}
	}
	return err
}

// TestNothingKeptIsLost fails, and stops the machine at, each operation on files,
// and then takes from it what was not synced. What was kept is there, what was
// dropped is not, and what was on its way may be either.
func TestNothingKeptIsLost(t *testing.T) {
	for at := 1; ; at++ {
		fired := false
		for _, percent := range []int{0, 50, 100} {
			for _, failure := range []error{errors.New("input/output error"), faultfs.ErrCrashed} {
				fsys := faultfs.New(uint64(at))
				fsys.FailAt(at, failure, func() { fired = true })
				o := &oracle{sure: map[client.Offset]bool{}, maybe: map[client.Offset]bool{}}
				if err := plot(fsys, o); err != nil && !errors.Is(err, faultfs.ErrCrashed) {
					t.Fatalf("operation %d, %v: it did not heal: %v", at, failure, err)
				}
				after := fsys.Crash(percent)
				for range 2 {
					s := open(t, after, Options{})
					err := o.judge(held(t, s))
					if cerr := s.Close(); err != nil || cerr != nil {
						t.Fatalf("operation %d, %v, %d%%: %v, %v", at, failure, percent, err, cerr)
					}
					after = after.Crash(0) // reading it has lost nothing either
				}
				if n := fsys.Handles(); n != 0 && !errors.Is(failure, faultfs.ErrCrashed) {
					t.Fatalf("operation %d, %v: %d files stay open", at, failure, n)
				}
			}
		}
		if !fired {
			if at < 60 {
				t.Fatalf("the story had %d operations only", at)
			}
			return
		}
	}
}

func TestAFullDiskHealsByItself(t *testing.T) {
	fsys := faultfs.New(1)
	s := open(t, fsys, Options{})
	defer s.Close()
	if err := s.Keep(record(1)); err != nil {
		t.Fatal(err)
	}
	fsys.SetLimit(fsys.Used() + 10)
	for range 2 {
		if err := s.Keep(record(2)); !vfs.IsDiskFull(err) {
			t.Fatal(err)
		}
	}
	fsys.SetLimit(0)
	if err := s.Keep(record(2)); err != nil {
		t.Fatal(err)
	}
	if got := held(t, s); !slices.Equal(got, []client.Offset{1, 2}) {
		t.Fatalf("%v", got)
	}
}
