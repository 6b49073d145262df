package appliance

import (
	"strings"

	"sidetone/board/gpio"
	"sidetone/board/indicator"
	"sidetone/provisioning/config"
)

// openLamp takes the lights that the config names. Without them, the device goes on without a lamp: nil.
func (a *Appliance) openLamp(c config.LED) *indicator.Lamp {
	names := []string{c.RGB.Red, c.RGB.Green, c.RGB.Blue}
	if c.Line != "" {
		names = []string{c.Line}
	} else if c.RGB == (config.RGB{}) {
		return nil
	}
	failed := func(err error) { a.log.Error("the lamp does not work", "err", err) }
	var lights []indicator.Light
	for _, name := range names {
		light, err := openLight(a.gpio, name, c.ActiveLow)
		if err != nil {
			failed(err)
			for _, l := range lights {
				l.Close()
			}
			return nil
		}
		lights = append(lights, light)
	}
	if len(lights) == 1 {
		return indicator.NewSingle(lights[0], failed)
	}
	return indicator.NewRGB(lights[0], lights[1], lights[2], failed)
}

// openLight takes one of the kernel's LEDs, "led:NAME", or a GPIO line.
func openLight(host *gpio.Host, name string, activeLow bool) (indicator.Light, error) {
	if led, ok := strings.CutPrefix(name, "led:"); ok {
		return indicator.OpenSysLED(indicator.SysLEDs, led)
	}
	return host.Output(name, false, gpio.Config{Consumer: "sidetone lamp", ActiveLow: activeLow})
}
