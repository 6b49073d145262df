package gateway

import "math/bits"

// Companding of ITU-T G.711, from 16-bit samples; the standard's 14 and 13 bits are their upper ones.

// mulaw codes a sample as PCMU.
func mulaw(s int16) byte {
	const bias, clip = 0x84, 32635
	sign := byte(0)
	v := int(s)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, clip) + bias
	exponent := bits.Len(uint(v)) - 8
	mantissa := v >> (exponent + 3) & 0x0f
	return ^(sign | byte(exponent<<4) | byte(mantissa))
}

// alaw codes a sample as PCMA.
func alaw(s int16) byte {
	sign := byte(0x80)
	v := int(s)
	if v < 0 {
		v, sign = -v-1, 0
	}
	exponent := max(0, bits.Len(uint(v))-8)
	mantissa := v >> max(4, exponent+3) & 0x0f
	return (sign | byte(exponent<<4) | byte(mantissa)) ^ 0x55
}
