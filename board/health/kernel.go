package health

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kernel reads all that this machine says of itself.
func Kernel(stateDir string, card bool) Readings {
	r := Files(os.DirFS("/"), stateDir, card)
	var st unix.Statfs_t
	if unix.Statfs(stateDir, &st) == nil {
		free := st.Bavail * uint64(st.Bsize)
		r.Note(DiskFull, free < fullBytes, fmt.Sprintf("%d MB are left", free>>20))
	}
	if on, name, ok := powerSave(); ok {
		r.Note(WiFiPowerSave, on, name)
	}
	return r
}

// iwreq is struct iwreq of linux/wireless.h with an iw_param.
type iwreq struct {
	name            [16]byte
	value           int32
	fixed, disabled uint8
	flags           uint16
	_               [8]byte
}

const siocGIWPOWER = 0x8b2d

// powerSave asks the Wi-Fi that saves power, else any.
func powerSave() (on bool, name string, known bool) {
	links, err := os.ReadDir("/sys/class/net")
	if err != nil {
		return false, "", false
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, "", false
	}
	defer unix.Close(fd)
	for _, l := range links {
		var q iwreq
		copy(q.name[:15], l.Name())
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocGIWPOWER, uintptr(unsafe.Pointer(&q))); errno != 0 {
			continue // no Wi-Fi
		}
		if known, name = true, l.Name(); q.disabled == 0 {
			return true, name, true
		}
	}
	return false, name, known
}
