package configs

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sizes are the suffixes of a number of bytes, the largest first.
var sizes = []struct {
	suffix string
	bytes  int64
}{
	{"TiB", 1 << 40},
	{"TB", 1e12},
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"KB", 1e3},
	{"B", 1},
}

// units are what a bare number counts in a duration.
var units = map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "hours": time.Hour}

var errOverflow = errors.New("the number is beyond 64 bits; use a smaller one")

// evaluate computes an expression of integers with + - * / and parentheses.
// Division drops the rest. With bytes set a number may have a suffix of sizes.
func evaluate(text string, bytes bool) (int64, error) {
	e := expression{rest: text, bytes: bytes}
	n, err := e.sum(0)
	if err == nil && e.peek() != 0 {
		err = fmt.Errorf("unexpected %s in the number", quote(e.rest))
	}
	return n, err
}

type expression struct {
	rest  string
	bytes bool
}

// peek gives the next character that is no space, 0 at the end.
func (e *expression) peek() byte {
	e.rest = strings.TrimLeft(e.rest, " \t")
	if e.rest == "" {
		return 0
	}
	return e.rest[0]
}

func (e *expression) sum(depth int) (int64, error) {
	n, err := e.product(depth)
	for err == nil && (e.peek() == '+' || e.peek() == '-') {
		op := e.rest[0]
		e.rest = e.rest[1:]
		var m int64
		if m, err = e.product(depth); err == nil {
			n, err = apply(op, n, m)
		}
	}
	return n, err
}

func (e *expression) product(depth int) (int64, error) {
	n, err := e.factor(depth)
	for err == nil && (e.peek() == '*' || e.peek() == '/') {
		op := e.rest[0]
		e.rest = e.rest[1:]
		var m int64
		if m, err = e.factor(depth); err == nil {
			n, err = apply(op, n, m)
		}
	}
	return n, err
}

func (e *expression) factor(depth int) (int64, error) {
	const deepest = 100 // bounds the stack, whatever the input
	if depth > deepest {
		return 0, errors.New("the expression is nested too deeply")
	}
	switch c := e.peek(); {
	case c == '-':
		e.rest = e.rest[1:]
		n, err := e.factor(depth + 1)
		if err != nil {
			return 0, err
		}
		return apply('-', 0, n)
	case c == '(':
		e.rest = e.rest[1:]
		n, err := e.sum(depth + 1)
		if err == nil && e.peek() != ')' {
			err = errors.New("a ) is missing in the number")
		}
		if err == nil {
			e.rest = e.rest[1:]
		}
		return n, err
	case c >= '0' && c <= '9':
		return e.number()
	case c == 0:
		return 0, errors.New("a number is missing")
	}
	return 0, fmt.Errorf("unexpected %s in the number", quote(e.rest))
}

func (e *expression) number() (int64, error) {
	end := len(e.rest) - len(strings.TrimLeft(e.rest, "0123456789"))
	n, err := strconv.ParseInt(e.rest[:end], 10, 64)
	if err != nil {
		return 0, errOverflow
	}
	e.rest = e.rest[end:]
	for _, size := range sizes {
		if e.bytes && strings.HasPrefix(e.rest, size.suffix) {
			e.rest = e.rest[len(size.suffix):]
			return apply('*', n, size.bytes)
		}
	}
	return n, nil
}

// apply computes a op b, or says why it cannot.
func apply(op byte, a, b int64) (int64, error) {
	var n int64
	overflow := false
	switch op {
	case '+':
		n = a + b
		overflow = (n^a)&(n^b) < 0
	case '-':
		n = a - b
		overflow = (a^b)&(a^n) < 0
	case '*':
		n = a * b
		overflow = a != 0 && (n/a != b || a == -1 && b == math.MinInt64)
	case '/':
		if b == 0 {
			return 0, errors.New("the number is divided by zero")
		}
		n = a / b
		overflow = a == math.MinInt64 && b == -1
	}
	if overflow {
		return 0, errOverflow
	}
	return n, nil
}

func parseInt(text, unit string) (int64, error) {
	n, err := evaluate(text, unit == "bytes")
	if err == nil || errors.Is(err, errOverflow) {
		return n, err
	}
	if unit == "bytes" {
		return 0, fmt.Errorf("%w; write bytes (1048576, 1024*1024) or a size (512KiB, 1GiB, 64MB)", err)
	}
	return 0, fmt.Errorf("%w; write a whole number such as 16 or 4*4", err)
}

// parseDuration reads a number of the unit, or a duration such as 10s or 1h30m.
func parseDuration(text, unit string) (time.Duration, error) {
	if !strings.ContainsAny(text, "hmnsu\u00b5\u03bc.") {
		n, err := evaluate(text, false)
		if err == nil {
			n, err = apply('*', n, int64(units[unit]))
		}
		if err == nil || errors.Is(err, errOverflow) {
			return time.Duration(n), err
		}
	} else if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	return 0, fmt.Errorf("%s is not a time; write a number of %s, or a duration such as 10s or 1h30m", quote(text), unit)
}

func parseBool(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, fmt.Errorf("%s is not a truth value; write true or false", quote(text))
	}
	return text == "true", nil
}

// set gives the option the value that text stands for. A blank text is no
// value: callers leave it out.
func (o option) set(text string, zone *time.Location) error {
	if err := checkText(text); err != nil {
		if o.tag.Get("secret") != "" {
			return errors.New("holds a character that cannot stand here") // without the text
		}
		return err
	}
	unit := o.tag.Get("unit")
	var value any
	var err error
	switch o.value.Interface().(type) {
	case bool:
		value, err = parseBool(text)
	case int, int64:
		var n int64
		if n, err = parseInt(text, unit); err == nil {
			o.value.SetInt(n)
		}
		return err
	case time.Duration:
		value, err = parseDuration(text, unit)
	case DeletePolicy:
		value, err = ParseDeletePolicy(text)
	case Schedule:
		value, err = ParseSchedule(text, zone)
	case []string:
		value, err = o.checkedList(text)
	default:
		value, err = o.checked(text)
	}
	if err == nil {
		o.value.Set(reflect.ValueOf(value))
	}
	return err
}

func (o option) checked(text string) (string, error) {
	if check := checks[o.tag.Get("check")]; check != nil {
		return check(text)
	}
	return text, nil
}

func (o option) checkedList(text string) ([]string, error) {
	var list []string
	var chroot string
	if o.tag.Get("check") == "zkserver" {
		var err error
		if text, chroot, err = splitChroot(text); err != nil {
			return nil, err
		}
	}
	for one := range strings.SplitSeq(text, ",") {
		good, err := o.checked(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		if slices.Contains(list, good) {
			return nil, fmt.Errorf("%s is listed twice; remove one", good)
		}
		list = append(list, good)
	}
	list[len(list)-1] += chroot
	return list, nil
}

// text gives the option's value as a user would write it; set reads it back.
func (o option) text() string {
	switch v := o.value.Interface().(type) {
	case time.Duration:
		return formatDuration(v)
	case []string:
		return strings.Join(v, ",")
	case int64:
		if o.tag.Get("unit") == "bytes" {
			return formatSize(v)
		}
	}
	return fmt.Sprint(o.value.Interface())
}

// formatSize uses the largest binary suffix that loses nothing.
func formatSize(n int64) string {
	for _, s := range sizes {
		if strings.HasSuffix(s.suffix, "iB") && n != 0 && n%s.bytes == 0 {
			return strconv.FormatInt(n/s.bytes, 10) + s.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// formatDuration drops the zero minutes and seconds of "168h0m0s".
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ParseSize reads a number of bytes as server.ini has it: 1048576, 1024*1024,
// 512KiB, 1GiB, 64MB.
func ParseSize(text string) (int64, error) { return parseInt(text, "bytes") }

// ParseMillis reads a time as server.ini has it: a number of milliseconds, or a
// duration such as 10s or 1h30m. It returns milliseconds.
func ParseMillis(text string) (int64, error) {
	d, err := parseDuration(text, "ms")
	return d.Milliseconds(), err
}
