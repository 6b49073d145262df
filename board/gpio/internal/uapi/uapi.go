// Package uapi is version 2 of the kernel's interface to GPIO character devices (linux/gpio.h, Linux 5.10 and later):
// requests and structs, laid out alike on 32 and 64 bits.
package uapi

import "unsafe"

// Sizes of names and lists.
const (
	NameSize = 32
	linesMax = 64
	AttrsMax = 10
)

// Flags of a line.
const (
	Used uint64 = 1 << iota
	ActiveLow
	Input
	Output
	EdgeRising
	EdgeFalling
	OpenDrain
	OpenSource
	BiasPullUp
	BiasPullDown
	BiasDisabled
)

// What an Attribute holds.
const (
	AttrOutputValues = 2 // a bitmap
	AttrDebounce     = 3 // microseconds
)

// What an Event is.
const (
	Rising  = 1 // from inactive to active
	Falling = 2
)

// Requests.
const (
	GetChipInfo   = read<<30 | uint(unsafe.Sizeof(ChipInfo{}))<<16 | magic | 0x01
	GetLineInfo   = (read|write)<<30 | uint(unsafe.Sizeof(LineInfo{}))<<16 | magic | 0x05
	GetLine       = (read|write)<<30 | uint(unsafe.Sizeof(LineRequest{}))<<16 | magic | 0x07
	SetLineConfig = (read|write)<<30 | uint(unsafe.Sizeof(LineConfig{}))<<16 | magic | 0x0d
	GetLineValues = (read|write)<<30 | uint(unsafe.Sizeof(LineValues{}))<<16 | magic | 0x0e
	SetLineValues = (read|write)<<30 | uint(unsafe.Sizeof(LineValues{}))<<16 | magic | 0x0f

	write = 1
	read  = 2
	magic = 0xb4 << 8
)

// ChipInfo is struct gpiochip_info.
type ChipInfo struct {
	Name, Label [NameSize]byte
	Lines       uint32
}

// Attribute is struct gpio_v2_line_attribute. Its value is a union: a bitmap, or in its first four bytes a number.
type Attribute struct {
	ID    uint32
	_     uint32
	Value [8]byte
}

// ConfigAttribute is struct gpio_v2_line_config_attribute.
type ConfigAttribute struct {
	Attribute
	Mask uint64
}

// LineConfig is struct gpio_v2_line_config.
type LineConfig struct {
	Flags    uint64
	NumAttrs uint32
	_        [5]uint32
	Attrs    [AttrsMax]ConfigAttribute
}

// LineRequest is struct gpio_v2_line_request.
type LineRequest struct {
	Offsets         [linesMax]uint32
	Consumer        [NameSize]byte
	Config          LineConfig
	NumLines        uint32
	EventBufferSize uint32
	_               [5]uint32
	FD              int32
}

// LineInfo is struct gpio_v2_line_info.
type LineInfo struct {
	Name, Consumer [NameSize]byte
	Offset         uint32
	NumAttrs       uint32
	Flags          uint64
	Attrs          [AttrsMax]Attribute
	_              [4]uint32
}

// LineValues is struct gpio_v2_line_values.
type LineValues struct {
	Bits, Mask uint64
}

// Event is struct gpio_v2_line_event, as it is read from a line.
type Event struct {
	TimestampNs uint64 // CLOCK_MONOTONIC
	ID          uint32 // Rising or Falling
	Offset      uint32
	Seqno       uint32 // among all lines of the request, from 1
	LineSeqno   uint32
	_           [6]uint32
}

// EventSize is that of an Event, in bytes.
const EventSize = int(unsafe.Sizeof(Event{}))
