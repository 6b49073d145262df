//go:build !cgo

package cli

import "fmt"

// resample takes a recording as it is: the resampler needs cgo.
func resample(pcm []int16, from, to int) ([]int16, error) {
	if from != to {
		return nil, fmt.Errorf("a recording of %d Hz: without cgo the bench knows %d Hz only", from, to)
	}
	return pcm, nil
}
