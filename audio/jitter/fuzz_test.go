package jitter

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// FuzzPushPull gives the buffer any packets at any time: 24 bytes are one step.
func FuzzPushPull(f *testing.F) {
	step := func(seq uint16, ts uint32, ssrc uint8, size, samples uint16, at int64) []byte {
		b := make([]byte, 24)
		binary.LittleEndian.PutUint16(b, seq)
		binary.LittleEndian.PutUint32(b[2:], ts)
		b[6] = ssrc
		binary.LittleEndian.PutUint16(b[8:], size)
		binary.LittleEndian.PutUint16(b[10:], samples)
		binary.LittleEndian.PutUint64(b[12:], uint64(at))
		return b
	}
	var steady, wild []byte
	for i := range 50 {
		steady = append(steady, step(uint16(i+65520), uint32(i*960), 1, 80, 960, int64(i)*20e6)...)
		wild = append(wild, step(uint16(i*i*i*7919), uint32(i*i*1e9), uint8(i/20), uint16(i), uint16(i*77), int64(i)*int64(i)*1e17-1e18)...)
	}
	f.Add(steady)
	f.Add(wild)
	f.Fuzz(func(t *testing.T, data []byte) {
		b := New(Config{})
		var clock int64
		for ; len(data) >= 24; data = data[24:] {
			payload := make([]byte, binary.LittleEndian.Uint16(data[8:])%5000)
			samples := int(int16(binary.LittleEndian.Uint16(data[10:])))
			at := time.Duration(binary.LittleEndian.Uint64(data[12:]))
			b.Push(&rtp.Packet{Header: rtp.Header{
				SequenceNumber: binary.LittleEndian.Uint16(data),
				Timestamp:      binary.LittleEndian.Uint32(data[2:]),
				SSRC:           uint32(data[6]),
			}, Payload: payload}, Info{Samples: samples, FEC: data[20]&4 != 0}, at)
			for range data[7] % 8 {
				clock += int64(data[21]) * 1e6
				now := time.Duration(clock)
				if data[20]&2 != 0 {
					now = at
				}
				d := b.Pull(now, int(data[22])*8, int(data[23])+1)
				check(t, d)
				if by := int(int8(data[22])) * 8; d.Stretch > 0 && by > 0 {
					b.Stretched(min(by, d.Stretch))
				} else if d.Stretch < 0 && by < 0 {
					b.Stretched(max(by, d.Stretch))
				}
			}
		}
		if target := b.Target(); target < 0 || target > b.cfg.Max {
			t.Fatalf("target %v", target)
		}
	})
}

func check(t *testing.T, d Decision) {
	if d.Samples <= 0 || d.Samples > clockRate/2 || d.Waited < 0 || (d.Kind == Play) != (d.Payload != nil) && d.Kind != Lost {
		t.Fatalf("%+v", d)
	}
}
