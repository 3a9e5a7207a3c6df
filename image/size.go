package image

import (
	"fmt"
	"math/bits"
	"strings"
)

// fractionMax is the number of digits behind the point of a size.
const fractionMax = 9

// ParseSize reads a size in bytes as docker's flags do: a number, also with a
// fraction, and a unit b, k, m, g, t or p in any case, with an optional "b" or "ib"
// behind it. All units are powers of 1024. A fraction of a byte is cut off.
func ParseSize(s string) (uint64, error) {
	number, unit := s, ""
	if i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		number, unit = s[:i], s[i:]
	}
	shift, ok := unitShift(unit)
	if !ok {
		return 0, fmt.Errorf("size %q: unit %q is unknown (want b, k, m, g, t or p)", s, unit)
	}
	whole, fraction, point := strings.Cut(number, ".")
	if whole == "" || point && fraction == "" || strings.Contains(fraction, ".") {
		return 0, fmt.Errorf("size %q: want a number and a unit, such as 512M", s)
	}
	if len(fraction) > fractionMax {
		return 0, fmt.Errorf("size %q: more than %d digits behind the point", s, fractionMax)
	}
	n, ok := digits(whole)
	if !ok || bits.Len64(n)+shift > 63 {
		return 0, fmt.Errorf("size %q: too large", s)
	}
	return n<<shift + fractionOf(fraction, shift), nil
}

// unitShift returns the power of two that a unit stands for.
func unitShift(unit string) (shift int, ok bool) {
	u := strings.ToLower(unit)
	if u == "" || u == "b" {
		return 0, true
	}
	i := strings.IndexByte("kmgtp", u[0])
	if i < 0 || u[1:] != "" && u[1:] != "b" && u[1:] != "ib" {
		return 0, false
	}
	return 10 * (i + 1), true
}

// digits reads a decimal number; ok is false if it does not fit.
func digits(s string) (n uint64, ok bool) {
	for _, c := range []byte(s) {
		hi, lo := bits.Mul64(n, 10)
		sum, carry := bits.Add64(lo, uint64(c-'0'), 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
		n = sum
	}
	return n, true
}

// fractionOf returns 0.fraction << shift, cut off to a whole number.
func fractionOf(fraction string, shift int) uint64 {
	n, _ := digits(fraction) // at most fractionMax digits
	unit := uint64(1)
	for range fraction {
		unit *= 10
	}
	hi, lo := bits.Mul64(n, 1<<shift)
	quotient, _ := bits.Div64(hi, lo, unit) // n < unit, so the quotient fits
	return quotient
}

// FormatSize writes a size for people, in the largest unit that leaves no fraction.
func FormatSize(n uint64) string {
	const units = "BKMGTP"
	i := 0
	for n != 0 && n&1023 == 0 && i < len(units)-1 {
		n >>= 10
		i++
	}
	return fmt.Sprintf("%d%c", n, units[i])
}

// AboutSize writes a size for people, with one digit behind the point: 1.5 MiB.
func AboutSize(n uint64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	unit := (bits.Len64(n) - 1) / 10
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(uint64(1)<<(10*unit)), units[unit-1])
}
