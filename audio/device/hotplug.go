package device

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookInterval is how often the list of cards is looked at for what the kernel's messages did not tell, as in a
	// container, where there are none.
	lookInterval = time.Second
	// settle is how long after the kernel's last message of a card the list is looked at: a card is announced part by part, and
	// listed when all of it is there.
	settle = 30 * time.Millisecond
)

// WatchCards calls changed each time that the list of sound cards is another one, until ctx ends.
func WatchCards(ctx context.Context, changed func()) {
	messages := make(chan struct{}, 1)
	if socket, err := uevents(); err == nil {
		stop := context.AfterFunc(ctx, func() { socket.SetReadDeadline(time.Unix(1, 0)) })
		done := make(chan struct{})
		go func() {
			defer close(done)
			readUevents(socket, messages)
		}()
		defer func() {
			if stop() {
				socket.SetReadDeadline(time.Unix(1, 0))
			}
			<-done
			socket.Close()
		}()
	}
	watchCards(ctx, messages, changed)
}

// watchCards looks at the list of cards when a message came, and at times.
func watchCards(ctx context.Context, messages <-chan struct{}, changed func()) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	seen := cardList()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-messages:
			settled = time.After(settle)
			continue
		case <-settled:
			settled = nil
		case <-ticker.C:
		}
		if now := cardList(); now != seen {
			seen = now
			changed()
		}
	}
}

// cardList is all that a change of would be a change of cards.
func cardList() string {
	cards, _ := fs.ReadFile(asound, "cards")
	pcm, _ := fs.ReadFile(asound, "pcm")
	return string(cards) + string(pcm)
}

// kernelGroup is the multicast group in which the kernel itself tells of devices; udev's is another.
const kernelGroup = 1

// uevents opens the kernel's messages of devices that come and go (netlink(7), NETLINK_KOBJECT_UEVENT).
func uevents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "uevents"), nil
}

// readUevents tells of each message of a sound device, until reading fails: by the deadline at the end.
func readUevents(socket *os.File, messages chan<- struct{}) {
	buf := make([]byte, 16<<10)
	for {
		n, err := socket.Read(buf)
		if err != nil && !os.IsTimeout(err) {
			// ENOBUFS: messages were lost; one of a card may be among them.
			if pe, ok := err.(*fs.PathError); !ok || pe.Err != unix.ENOBUFS {
				return
			}
		} else if err != nil {
			return
		} else if !aboutSound(buf[:n]) {
			continue
		}
		select {
		case messages <- struct{}{}:
		default:
		}
	}
}

// aboutSound tells whether a uevent is of a sound device: "add@/devices/…\x00ACTION=add\x00…\x00SUBSYSTEM=sound\x00…".
func aboutSound(message []byte) bool {
	for field := range bytes.SplitSeq(message, []byte{0}) {
		if string(field) == "SUBSYSTEM=sound" {
			return true
		}
	}
	return false
}
