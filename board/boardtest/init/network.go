//go:build linux

package main

import (
	"fmt"
	"os"
	"unsafe"

	"sidetone/board/boardtest/steer"

	"golang.org/x/sys/unix"
)

// network gives loopback and the interface their addresses, and the interface the default route.
func network(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := up(fd, "lo", nil, nil); err != nil {
		return err
	}
	if err := up(fd, name, steer.Guest[:], steer.Mask[:]); err != nil {
		return err
	}
	// struct rtentry of <net/route.h> on 64 bits.
	type sockaddr = unix.RawSockaddrInet4
	route := struct {
		_                  uint64
		dst, gate, genmask sockaddr
		flags              uint16
		_                  [86]byte
	}{
		dst: sockaddr{Family: unix.AF_INET}, genmask: sockaddr{Family: unix.AF_INET},
		gate: sockaddr{Family: unix.AF_INET, Addr: steer.Gateway}, flags: unix.RTF_UP | unix.RTF_GATEWAY,
	}
	if err := ioctl(fd, unix.SIOCADDRT, unsafe.Pointer(&route)); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	return os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n"), 0o644)
}

// up gives an interface its address and mask, where it has none already, and switches it on.
func up(fd int, name string, address, mask []byte) error {
	q, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if address != nil {
		if err := q.SetInet4Addr(address); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, q); err != nil {
			return fmt.Errorf("address of %s: %w", name, err)
		}
		if err := q.SetInet4Addr(mask); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, q); err != nil {
			return fmt.Errorf("mask of %s: %w", name, err)
		}
	}
	q.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, q); err != nil {
		return fmt.Errorf("switching %s on: %w", name, err)
	}
	return nil
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
