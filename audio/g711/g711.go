// Package g711 is the telephone network's own codec, ITU-T G.711 in both laws, at the device's 48 kHz: an Encoder and a
// Decoder with the resampling between 8 and 48 kHz inside, and a guess at what is lost.
package g711

import (
	"math/bits"
	"sync"
)

// Law is one of the two compandings.
type Law int

// The laws, under the names they have in SDP (RFC 3551, section 4.5.14).
const (
	PCMU Law = iota // mu-law, of North America and Japan
	PCMA            // A-law, of elsewhere
)

// tables of one law. G.711's samples have 14 bits (mu) and 13 bits (A); they are the upper ones of ours.
type tables struct {
	shift    uint // what our 16 bits have more
	compress []byte
	expand   [256]int16
}

// lawTables are made when they are first needed.
var lawTables = [...]func() *tables{
	PCMU: sync.OnceValue(func() *tables { return newTables(2, expandMu, compressMu) }),
	PCMA: sync.OnceValue(func() *tables { return newTables(3, expandA, compressA) }),
}

func newTables(shift uint, expand func(byte) int16, compress func(int) byte) *tables {
	t := &tables{shift: shift, compress: make([]byte, 1<<(16-shift))}
	for i := range t.compress {
		t.compress[i] = compress(i - len(t.compress)/2)
	}
	for i := range t.expand {
		t.expand[i] = expand(byte(i))
	}
	return t
}

func (t *tables) code(s int16) byte { return t.compress[(int(s)+1<<15)>>t.shift] }

// compressMu codes a sample of 14 bits (G.711, table 2): a sign, the segment, and four bits within it, all inverted.
func compressMu(v int) byte {
	sign := byte(0x80)
	if v < 0 {
		v, sign = ^v, 0
	}
	v = min(v+33, 1<<13-1)
	segment := bits.Len(uint(v)) - 6 // 33 has six bits
	return sign | (^(byte(segment)<<4 | byte(v>>(segment+1))&0x0f))&0x7f
}

func expandMu(code byte) int16 {
	c := ^code
	v := (int(c&0x0f)<<3 + 0x84) << (c >> 4 & 7)
	if c&0x80 != 0 {
		return int16(0x84 - v)
	}
	return int16(v - 0x84)
}

// compressA codes a sample of 13 bits (G.711, table 1): the even bits are inverted.
func compressA(v int) byte {
	sign := byte(0x80)
	if v < 0 {
		v, sign = ^v, 0
	}
	segment := max(bits.Len(uint(v))-5, 0) // the first two segments have the same steps
	return (sign | byte(segment)<<4 | byte(v>>max(segment, 1))&0x0f) ^ 0x55
}

func expandA(code byte) int16 {
	c := code ^ 0x55
	segment := int(c >> 4 & 7)
	v := int(c&0x0f)<<4 + 8
	if segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	if c&0x80 == 0 {
		v = -v
	}
	return int16(v)
}
