package media

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Network is what the network looks like from here.
type Network struct {
	Addresses []netip.Addr // that can be used: link up, not loopback, not link-local, not tentative; sorted
	Routes    []string     // default routes, "gateway interface"; sorted
}

// Up tells whether there is any address to talk from.
func (n Network) Up() bool { return len(n.Addresses) > 0 }

// Lost tells whether an address or a default route is gone that was there before: what went by it goes nowhere now.
func (n Network) Lost(before Network) bool {
	gone := func(a netip.Addr) bool { return !slices.Contains(n.Addresses, a) }
	noRoute := func(r string) bool { return !slices.Contains(n.Routes, r) }
	return slices.ContainsFunc(before.Addresses, gone) || slices.ContainsFunc(before.Routes, noRoute)
}

func (n Network) equal(o Network) bool {
	return slices.Equal(n.Addresses, o.Addresses) && slices.Equal(n.Routes, o.Routes)
}

// watchDelay lets the messages of one change gather: a DHCP client sets an address, then its route. A call is without sound
// meanwhile, and a change that came in two is only told twice.
const watchDelay = 30 * time.Millisecond

// Watch tells what the network is like, at once and after each change of addresses or default routes, until ctx ends, then
// returns nil. What happens within 30 ms is told once. notify is called from Watch's goroutine; while it waits, changes
// gather. The kernel tells by rtnetlink(7).
func Watch(ctx context.Context, notify func(Network)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("media: watch the network: %w", os.NewSyscallError("socket", err))
	}
	f := os.NewFile(uintptr(fd), "rtnetlink")
	defer f.Close()
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("media: watch the network: %w", os.NewSyscallError("bind", err))
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	was, err := network()
	if err != nil {
		return err
	}
	notify(was)
	buf := make([]byte, 32<<10)
	for {
		// What the messages say does not matter, only that there was one; ENOBUFS says that there were many.
		if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("media: watch the network: %w", err)
		}
		pause := time.NewTimer(watchDelay)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		for { // what came meanwhile is part of the same change
			if n, err := unix.Read(fd, buf); err != nil && err != unix.EINTR && err != unix.ENOBUFS || n == 0 {
				break
			}
		}
		now, err := network()
		if err != nil {
			return err
		}
		if !now.equal(was) {
			was = now
			notify(now)
		}
	}
}

// network asks the kernel what there is.
func network() (Network, error) {
	var n Network
	links := map[uint32]string{} // that are up, by index
	err := dump(syscall.RTM_GETLINK, syscall.RTM_NEWLINK, func(m []byte, attrs map[uint16][]byte) {
		info := (*syscall.IfInfomsg)(unsafe.Pointer(unsafe.SliceData(m)))
		const want = syscall.IFF_UP | syscall.IFF_RUNNING
		if info.Flags&want == want && info.Flags&syscall.IFF_LOOPBACK == 0 {
			links[uint32(info.Index)] = unix.ByteSliceToString(attrs[syscall.IFLA_IFNAME])
		}
	})
	if err != nil {
		return n, err
	}
	err = dump(syscall.RTM_GETADDR, syscall.RTM_NEWADDR, func(m []byte, attrs map[uint16][]byte) {
		a := (*syscall.IfAddrmsg)(unsafe.Pointer(unsafe.SliceData(m)))
		raw, ok := attrs[syscall.IFA_LOCAL] // of point-to-point links the other is the far side's
		if !ok {
			raw = attrs[syscall.IFA_ADDRESS]
		}
		addr, ok := netip.AddrFromSlice(raw)
		_, up := links[a.Index]
		if ok && up && a.Scope < syscall.RT_SCOPE_LINK && a.Flags&(syscall.IFA_F_TENTATIVE|syscall.IFA_F_DADFAILED) == 0 {
			n.Addresses = append(n.Addresses, addr)
		}
	})
	if err != nil {
		return n, err
	}
	err = dump(syscall.RTM_GETROUTE, syscall.RTM_NEWROUTE, func(m []byte, attrs map[uint16][]byte) {
		r := (*syscall.RtMsg)(unsafe.Pointer(unsafe.SliceData(m)))
		oif := attrs[syscall.RTA_OIF]
		if r.Dst_len != 0 || r.Table != syscall.RT_TABLE_MAIN || r.Type != syscall.RTN_UNICAST || len(oif) != 4 {
			return
		}
		if name, up := links[*(*uint32)(unsafe.Pointer(unsafe.SliceData(oif)))]; up {
			gateway, _ := netip.AddrFromSlice(attrs[syscall.RTA_GATEWAY])
			n.Routes = append(n.Routes, gateway.String()+" "+name)
		}
	})
	slices.SortFunc(n.Addresses, netip.Addr.Compare)
	slices.Sort(n.Routes)
	return n, err
}

// dump asks for all of one kind, and hands over each that came whole, with its attributes.
func dump(ask int, want uint16, each func(m []byte, attrs map[uint16][]byte)) error {
	raw, err := syscall.NetlinkRIB(ask, syscall.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("media: list the network: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return fmt.Errorf("media: list the network: %w", err)
	}
	for _, m := range messages {
		if m.Header.Type != want {
			continue
		}
		list, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return fmt.Errorf("media: list the network: %w", err)
		}
		attrs := make(map[uint16][]byte, len(list))
		for _, a := range list {
			attrs[a.Attr.Type] = a.Value
		}
		each(m.Data, attrs)
	}
	return nil
}
