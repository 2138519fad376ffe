package cli

import (
	"strconv"
	"time"
)

// Count writes n with a comma between thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Megabytes writes n bytes in units of 1,000,000 bytes.
func Megabytes(n int64) string {
	return strconv.FormatFloat(float64(n)/1e6, 'f', 2, 64)
}

// Rate writes n a second over d, without decimals; "-" when no time has passed.
func Rate(n int64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return Count(int64(float64(n) / d.Seconds()))
}

// Short writes d with about three digits, for example 1.23s, 45.6ms or 789us.
func Short(d time.Duration) string {
	unit, name := time.Second, "s"
	switch {
	case d < time.Millisecond:
		unit, name = time.Microsecond, "us"
	case d < time.Second:
		unit, name = time.Millisecond, "ms"
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	v := float64(d) / float64(unit)
	digits := 0
	switch {
	case v < 10:
		digits = 2
	case v < 100:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + name
}
