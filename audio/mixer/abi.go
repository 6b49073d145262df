package mixer

import (
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's control interface, from include/uapi/sound/asound.h. Sizes differ between 32 and 64 bits where C has long,
// which Go's int is on all of Linux; a test holds them against the header.

type elemID struct {
	numID             uint32
	iface             int32
	device, subdevice uint32
	name              [44]byte
	index             uint32
}

type elemList struct {
	offset, space, used, count uint32
	ids                        *elemID
	_                          [50]byte
}

type elemInfo struct {
	id            elemID
	kind          int32
	access, count uint32
	owner         int32
	value         [128]byte // of integers: long min, max, step; of enums: u32 items, u32 item, char name[64]
	_             [64]byte
}

type elemValue struct {
	id    elemID
	_     [2]uint32 // a bit that was never used, and C's padding
	value [128]int  // of integers and switches; of enums: u32
	_     [128]byte
}

const tlvWords = 128

type elemTLV struct {
	numID, length uint32
	words         [tlvWords]uint32
}

// tlvHeader is what C's structure has without its data, by which the request is numbered.
const tlvHeader = 8

// Requests.
const (
	requestList  = 3<<30 | unsafe.Sizeof(elemList{})<<16 | 'U'<<8 | 0x10
	requestInfo  = 3<<30 | unsafe.Sizeof(elemInfo{})<<16 | 'U'<<8 | 0x11
	requestRead  = 3<<30 | unsafe.Sizeof(elemValue{})<<16 | 'U'<<8 | 0x12
	requestWrite = 3<<30 | unsafe.Sizeof(elemValue{})<<16 | 'U'<<8 | 0x13
	requestTLV   = 3<<30 | tlvHeader<<16 | 'U'<<8 | 0x1a
)

// Kinds of control.
const (
	kindSwitch  = 1
	kindInteger = 2
	kindEnum    = 3
)

// Ways in which a control may be used.
const (
	accessWrite    = 1 << 1
	accessTLVRead  = 1 << 4
	accessInactive = 1 << 8
)

func (i *elemID) String() string {
	name, _, _ := bytes.Cut(i.name[:], []byte{0})
	return string(name)
}

// long gives the n-th long of an integer's range.
func (i *elemInfo) long(n int) int {
	return *(*int)(unsafe.Pointer(&i.value[n*bits.UintSize/8])) // at 80 bytes from the start, so it is aligned
}

// items is how many choices an enum has; item picks one, whose name the kernel then gives.
func (i *elemInfo) items() *uint32 { return (*uint32)(unsafe.Pointer(&i.value[0])) }
func (i *elemInfo) item() *uint32  { return (*uint32)(unsafe.Pointer(&i.value[4])) }

func (i *elemInfo) itemName() string {
	name, _, _ := bytes.Cut(i.value[8:8+64], []byte{0})
	return string(name)
}

// choice is the place of the n-th channel's choice of an enum.
func (v *elemValue) choice(n int) *uint32 {
	return &unsafe.Slice((*uint32)(unsafe.Pointer(&v.value)), len(v.value))[n]
}

// Device is a card's control device, as the kernel has it.
type Device interface {
	Ioctl(request uintptr, arg unsafe.Pointer) error
	Close() error
}

// Open opens the control device of the card with that number.
func Open(card int) (Device, error) {
	f, err := os.OpenFile(fmt.Sprintf("/dev/snd/controlC%d", card), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("mixer: %w", err)
	}
	return kernel{f}, nil
}

type kernel struct{ *os.File }

// Ioctl implements Device.
func (k kernel) Ioctl(request uintptr, arg unsafe.Pointer) error {
	raw, err := k.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	if err := raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg))
	}); err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}
