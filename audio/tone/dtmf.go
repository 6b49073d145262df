package tone

import (
	"fmt"
	"strings"
	"time"
)

// Rows and columns of the keypad, in Hz (ITU-T Q.23).
var (
	dtmfRows    = [4]float64{697, 770, 852, 941}
	dtmfColumns = [4]float64{1209, 1336, 1477, 1633}
)

const keypad = "123A456B789C*0#D"

// DTMF plays digits (0-9, *, #, A-D), each for the given time with a rest of the same length after it, and then
// silence. ITU-T Q.24 wants at least 40 ms of each. It fails on a digit that no keypad has.
func DTMF(digits string, each time.Duration) (*Generator, error) {
	var steps []step
	for _, d := range strings.ToUpper(digits) {
		row, column, ok := DTMFFrequencies(d)
		if !ok {
			return nil, fmt.Errorf("tone: %q is not a DTMF digit; use 0-9, *, #, A-D", d)
		}
		steps = append(steps, on(each, row, column), off(each))
	}
	return newGenerator(Level+6, false, steps...), nil // each of the two at Level
}

// DTMFFrequencies gives the low and the high frequency of a digit in Hz (ITU-T Q.23), and false when there is none.
func DTMFFrequencies(digit rune) (row, column float64, ok bool) {
	i := strings.IndexRune(keypad, digit)
	if i < 0 {
		return 0, 0, false
	}
	return dtmfRows[i/4], dtmfColumns[i%4], true
}
