package uapi

import (
	"testing"
	"unsafe"
)

// The numbers hold the sizes of the structs; these are those that a C compiler finds in linux/gpio.h.
func TestRequestNumbers(t *testing.T) {
	for name, c := range map[string]struct{ got, want uint }{
		"GPIO_GET_CHIPINFO_IOCTL":       {GetChipInfo, 0x8044b401},
		"GPIO_V2_GET_LINEINFO_IOCTL":    {GetLineInfo, 0xc100b405},
		"GPIO_V2_GET_LINE_IOCTL":        {GetLine, 0xc250b407},
		"GPIO_V2_LINE_SET_CONFIG_IOCTL": {SetLineConfig, 0xc110b40d},
		"GPIO_V2_LINE_GET_VALUES_IOCTL": {GetLineValues, 0xc010b40e},
		"GPIO_V2_LINE_SET_VALUES_IOCTL": {SetLineValues, 0xc010b40f},
	} {
		if c.got != c.want {
			t.Errorf("%s is %#x, want %#x", name, c.got, c.want)
		}
	}
	var (
		r LineRequest
		i LineInfo
		e Event
		c LineConfig
	)
	for name, c := range map[string]struct{ got, want uintptr }{
		"line_request.consumer":   {unsafe.Offsetof(r.Consumer), 256},
		"line_request.config":     {unsafe.Offsetof(r.Config), 288},
		"line_request.num_lines":  {unsafe.Offsetof(r.NumLines), 560},
		"line_request.fd":         {unsafe.Offsetof(r.FD), 588},
		"line_config.attrs":       {unsafe.Offsetof(c.Attrs), 32},
		"config_attribute.mask":   {unsafe.Offsetof(c.Attrs[0].Mask), 16},
		"line_info.flags":         {unsafe.Offsetof(i.Flags), 72},
		"line_info.attrs":         {unsafe.Offsetof(i.Attrs), 80},
		"line_event.line_seqno":   {unsafe.Offsetof(e.LineSeqno), 20},
		"sizeof(gpio_line_event)": {unsafe.Sizeof(e), 48},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", name, c.got, c.want)
		}
	}
}
