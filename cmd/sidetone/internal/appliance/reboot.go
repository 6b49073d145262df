package appliance

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mayReboot says whether we may boot the system anew.
func mayReboot() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("restarting the system: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_BOOT) == 0 {
		return errors.New("restarting the system: not allowed; run as root, or with CAP_SYS_BOOT")
	}
	return nil
}

// reboot boots the system anew; arg, if any, is for its firmware. It returns only where that fails. (reboot(2).)
func reboot(arg string) error {
	unix.Sync()
	if arg == "" {
		return fmt.Errorf("restarting the system: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
	}
	text, err := unix.BytePtrFromString(arg)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2,
		unix.LINUX_REBOOT_CMD_RESTART2, uintptr(unsafe.Pointer(text)), 0, 0)
	return fmt.Errorf("restarting the system with %q: %w", arg, errno)
}
