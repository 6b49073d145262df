package audiotest

import (
	"testing"
	"time"
)

func BenchmarkCompareQuality(b *testing.B) {
	in := Speech(1, 10*time.Second)
	for b.Loop() {
		CompareQuality(in, in)
	}
}
