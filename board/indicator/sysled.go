package indicator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SysLEDs is where the kernel has the LEDs that it drives itself.
const SysLEDs = "/sys/class/leds"

// SysLED is one of them. While it is ours, nothing else in the kernel triggers it.
type SysLED struct {
	dir                  string
	lit                  string // what brightness is when it is lit
	brightness, triggers string // as they were
}

// OpenSysLED takes the LED of that name below dir, which is SysLEDs but in tests.
func OpenSysLED(dir, name string) (*SysLED, error) {
	l := &SysLED{dir: filepath.Join(dir, name)}
	for file, to := range map[string]*string{"max_brightness": &l.lit, "brightness": &l.brightness, "trigger": &l.triggers} {
		b, err := os.ReadFile(filepath.Join(l.dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no LED %q; %s has those there are: %w", name, dir, err)
		} else if err != nil {
			return nil, err
		}
		*to = strings.TrimSpace(string(b))
	}
	if err := l.write("trigger", "none"); err != nil {
		return nil, fmt.Errorf("LED %q: %w: let this user write to %s, or run as root", name, err, l.dir)
	}
	return l, nil
}

// Set implements Light.
func (l *SysLED) Set(on bool) error {
	if on {
		return l.write("brightness", l.lit)
	}
	return l.write("brightness", "0")
}

// Close gives the LED back as it was.
func (l *SysLED) Close() error {
	err := l.write("brightness", l.brightness)
	// The trigger that is set stands in brackets: "none [mmc0] timer".
	_, after, _ := strings.Cut(l.triggers, "[")
	if trigger, _, ok := strings.Cut(after, "]"); ok {
		err = errors.Join(err, l.write("trigger", trigger))
	}
	return err
}

func (l *SysLED) write(file, value string) error {
	f, err := os.OpenFile(filepath.Join(l.dir, file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
