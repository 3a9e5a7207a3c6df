package label

import "fmt"

// categories are those of all policies in use: c0 to c1023.
const categories = 1024

// pairs is the number of unordered pairs of distinct categories.
const pairs = categories * (categories - 1) / 2

// Pair is two categories, Low < High.
type Pair struct{ Low, High int }

// pairAt counts the pairs by the lower category, then by the higher one.
func pairAt(index int) Pair {
	for low := 0; ; low++ {
		row := categories - 1 - low
		if index < row {
			return Pair{low, low + 1 + index}
		}
		index -= row
	}
}

// index is the inverse of pairAt.
func (p Pair) index() int {
	// The rows before p.Low have categories-1, categories-2, ... pairs.
	before := p.Low * (2*categories - 1 - p.Low) / 2
	return before + p.High - p.Low - 1
}

// Level is the sensitivity and the categories of a label with this pair.
func (p Pair) Level() string { return fmt.Sprintf("s0:c%d,c%d", p.Low, p.High) }

// parsePair reads what Level writes, in either order of the categories. Other levels have
// no pair.
func parsePair(level string) (p Pair, ok bool) {
	var rest string
	if n, _ := fmt.Sscanf(level+" ", "s0:c%d,c%d%s", &p.Low, &p.High, &rest); n != 2 {
		return Pair{}, false
	}
	if p.Low > p.High {
		p.Low, p.High = p.High, p.Low
	}
	return p, p.Low >= 0 && p.Low < p.High && p.High < categories
}
