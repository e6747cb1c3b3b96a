package bench

import (
	"math"
	"slices"
	"time"
)

// quantile returns the value that a part p, 0 to 1, of the values does not exceed (the nearest rank), and 0 for none. It sorts
// them.
func quantile[T ~int64 | ~float64](values []T, p float64) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	rank := int(math.Ceil(p * float64(len(values))))
	return values[min(max(rank, 1), len(values))-1]
}

// jain is the index of fairness of Jain, Chiu and Hawe (DEC-TR-301, 1984): 1 when all shares are equal, 1/n when one of n has
// all. It is 0 for no share at all.
func jain(shares []float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(shares)) * squares)
}

// micros is a time in the unit of the metrics p50-us and p99-us.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// millis is a time in the unit of the metrics event-ms.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
