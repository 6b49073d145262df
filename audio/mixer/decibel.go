package mixer

import "math"

// Types of TLV, the kernel's description of what a volume's numbers mean (include/uapi/sound/tlv.h). Levels are in hundredths
// of a decibel.
const (
	tlvContainer  = 0
	tlvScale      = 1 // least, step with a bit that says that the least is silence
	tlvLinear     = 2 // least, most: a number is an amplitude
	tlvRange      = 3 // a TLV for each span of numbers
	tlvMinMax     = 4 // least, most
	tlvMinMaxMute = 5 // the same, and the least is silence

	scaleMute = 1 << 16
	gainMute  = -9999999
)

// decibels tells what a number from least to most means; false where the description does not say.
func decibels(tlv []uint32, least, most, number int) (float64, bool) {
	if len(tlv) < 2 || int64(len(tlv)-2) < int64(tlv[1]/4) || number < least || number > most {
		return 0, false
	}
	data := tlv[2 : 2+tlv[1]/4]
	level := func(i int) float64 { return float64(int32(data[i])) / 100 }
	share := 0.0
	if most > least {
		share = float64(number-least) / float64(most-least)
	}
	switch kind := tlv[0]; {
	case kind == tlvContainer:
		for len(data) >= 2 {
			if db, ok := decibels(data, least, most, number); ok {
				return db, true
			}
			data = after(data)
		}
	case kind == tlvRange:
		for len(data) >= 4 {
			from, to := int(int32(data[0])), int(int32(data[1]))
			if number >= from && number <= to {
				return decibels(data[2:], from, to, number)
			}
			data = after(data[2:])
		}
	case len(data) < 2:
	case kind == tlvScale:
		if number == least && data[1]&scaleMute != 0 {
			return math.Inf(-1), true
		}
		return level(0) + float64(number-least)*float64(data[1]&0xffff)/100, true
	case kind == tlvMinMaxMute && number == least:
		return math.Inf(-1), true
	case kind == tlvMinMax, kind == tlvMinMaxMute:
		return level(0) + share*(level(1)-level(0)), true
	case kind == tlvLinear:
		from := math.Pow(10, level(0)/20)
		if int32(data[0]) <= gainMute {
			from = 0
		}
		return 20 * math.Log10(from+share*(math.Pow(10, level(1)/20)-from)), true
	}
	return 0, false
}

// after gives what follows the TLV that data begins with.
func after(data []uint32) []uint32 { return data[min(uint64(len(data)), 2+(uint64(data[1])+3)/4):] }

// spanLimit is the longest span of numbers that is searched.
const spanLimit = 1 << 20

// nearest gives the number whose level is nearest to db; false where the description does not say.
func nearest(tlv []uint32, least, most int, db float64) (number int, ok bool) {
	if most-least > spanLimit {
		return 0, false
	}
	best := math.Inf(1)
	for n := least; n <= most; n++ {
		if is, known := decibels(tlv, least, most, n); known && math.Abs(is-db) < best {
			number, ok, best = n, true, math.Abs(is-db)
		}
	}
	return number, ok
}
