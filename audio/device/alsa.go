package device

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// alsaConf is all that ALSA must be told to open a card by name. Its own files are not on an appliance, and without any
// it opens nothing.
const alsaConf = `
pcm.hw { @args [ CARD DEV SUBDEV ] @args.CARD { type string } @args.DEV { type integer default 0 }
 @args.SUBDEV { type integer default -1 } type hw card $CARD device $DEV subdevice $SUBDEV }
pcm.plughw { @args [ CARD DEV SUBDEV ] @args.CARD { type string } @args.DEV { type integer default 0 }
 @args.SUBDEV { type integer default -1 } type plug slave.pcm { type hw card $CARD device $DEV subdevice $SUBDEV } }
ctl.hw { @args [ CARD ] @args.CARD { type string } type hw card $CARD }
`

// systemConf is the configuration that a distribution installs, with what its owner added.
const systemConf = "/usr/share/alsa/alsa.conf"

// configureALSA sees to it that ALSA finds a configuration: the one that ALSA_CONFIG_PATH names, the system's, or ours.
var configureALSA = sync.OnceValue(func() error {
	if os.Getenv("ALSA_CONFIG_PATH") != "" {
		return nil
	}
	if _, err := os.Stat(systemConf); err == nil {
		return nil
	}
	return configureALSAFromMemory()
})

// configureALSAFromMemory gives ALSA alsaConf, for the life of the process, as a file in memory.
func configureALSAFromMemory() error {
	fd, err := unix.MemfdCreate("alsa.conf", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("alsa.conf in memory: %w", err)
	}
	if _, err := unix.Write(fd, []byte(alsaConf)); err != nil {
		return fmt.Errorf("alsa.conf in memory: %w", err)
	}
	// With cgo, this reaches C's environment too. The descriptor stays open: ALSA reads it whenever it opens a card.
	return os.Setenv("ALSA_CONFIG_PATH", fmt.Sprintf("/proc/self/fd/%d", fd))
}
