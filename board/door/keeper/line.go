package keeper

import (
	"fmt"
	"os"
	"strings"

	"sidetone/board/gpio"
)

// file begins a line that is a file, for trials without a board: it holds the level, 0 or 1, and keeps it.
const file = "file:"

// Kernel opens lines by their addresses in package gpio, and "file:PATH".
func Kernel(r Relay, energised bool) (Output, error) {
	path, ok := strings.CutPrefix(r.Line, file)
	if !ok {
		return gpio.NewHost(gpio.Kernel{}).Output(r.Line, energised, gpio.Config{Consumer: "sidetone relay " + r.Name, ActiveLow: r.ActiveLow})
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &fileLine{f, r.ActiveLow}
	if err := l.Set(energised); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// fileLine is a line whose level stands in a file.
type fileLine struct {
	*os.File
	activeLow bool
}

// Set implements Output.
func (l *fileLine) Set(energised bool) error {
	level := "0\n"
	if energised != l.activeLow {
		level = "1\n"
	}
	if _, err := l.WriteAt([]byte(level), 0); err != nil {
		return fmt.Errorf("setting line %s%s: %w", file, l.Name(), err)
	}
	return nil
}
