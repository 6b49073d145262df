package opus

import "errors"

var errPacket = errors.New("not an Opus packet")

// frameSamples gives the samples at 48 kHz of one frame of the packet whose TOC byte this is (RFC 6716, section 3.1).
func frameSamples(toc byte) int {
	config := toc >> 3
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		return [...]int{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		return [...]int{480, 960}[config&1]
	default: // CELT: 2.5, 5, 10, 20 ms
		return [...]int{120, 240, 480, 960}[config&3]
	}
}

// Samples tells how many samples at 48 kHz a packet holds, from its TOC and frame count (RFC 6716, section 3.1 and
// 3.2). More than 120 ms is no packet.
func Samples(payload []byte) (int, error) {
	if len(payload) == 0 {
		return 0, errPacket
	}
	frames := 1
	switch payload[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(payload) < 2 {
			return 0, errPacket
		}
		frames = int(payload[1] & 0x3f)
	}
	n := frames * frameSamples(payload[0])
	if n == 0 || n > maxSamples {
		return 0, errPacket
	}
	return n, nil
}

// HasFEC tells whether a packet carries in-band FEC (LBRR) for the packet before it: the LBRR flag that follows the
// VAD flags of its first SILK frame (RFC 6716, section 4.2.3). CELT has none.
func HasFEC(payload []byte) bool {
	if len(payload) < 2 || payload[0]>>3 >= 16 {
		return false
	}
	first, ok := firstFrame(payload)
	if !ok {
		return false
	}
	silkFrames := max(1, frameSamples(payload[0])/960) // each SILK frame of 20 ms has a VAD flag of its own
	lbrr := first>>(7-silkFrames)&1 == 1
	if stereo := payload[0]&4 != 0; stereo && 6-2*silkFrames >= 0 {
		lbrr = lbrr || first>>(6-2*silkFrames)&1 == 1
	}
	return lbrr
}

// firstFrame gives the first byte of the packet's first frame (RFC 6716, section 3.2).
func firstFrame(p []byte) (byte, bool) {
	at := 1
	switch p[0] & 3 {
	case 2: // one length of one or two bytes
		at += lengthBytes(p[1])
	case 3:
		vbr, padding := p[1]&0x80 != 0, p[1]&0x40 != 0
		at = 2
		for padding {
			if at >= len(p) {
				return 0, false
			}
			padding = p[at] == 255
			at++
		}
		if vbr {
			for range int(p[1]&0x3f) - 1 {
				if at >= len(p) {
					return 0, false
				}
				at += lengthBytes(p[at])
			}
		}
	}
	if at >= len(p) {
		return 0, false
	}
	return p[at], true
}

// lengthBytes is how many bytes a frame length takes (RFC 6716, section 3.2.1).
func lengthBytes(first byte) int {
	if first < 252 {
		return 1
	}
	return 2
}
