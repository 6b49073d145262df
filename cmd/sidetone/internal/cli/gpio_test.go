package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/board/gpio"
	"sidetone/board/gpio/gpiofake"
)

func TestLinesAreListedAndWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := &gpiofake.System{}
		chip := system.Add(&gpiofake.Chip{Label: "pinctrl-bcm2711"}, "ID_SDA", "", "GPIO17")
		chip.Take(0, "eeprom")
		host := gpio.NewHost(system)
		var out strings.Builder
		if err := listLines(host, &out); err != nil {
			t.Fatal(err)
		}
		want := `gpiochip0:0  pinctrl-bcm2711:0  ID_SDA  used by "eeprom"
gpiochip0:1  pinctrl-bcm2711:1  -       free
gpiochip0:2  pinctrl-bcm2711:2  GPIO17  free
`
		if out.String() != want {
			t.Errorf("listed:\n%s", out.String())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out.Reset()
		chip.Drive(2, true)
		time.AfterFunc(2*time.Second, func() { chip.Drive(2, false) })
		time.AfterFunc(5*time.Second, func() { chip.Drive(2, true) })
		err := watchLine(ctx, host, "GPIO17", gpio.Config{ActiveLow: true, Debounce: time.Millisecond}, &out)
		if want := "inactive\nactive after 2.001s\ninactive after 3s\n"; out.String() != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, watched:\n%s", err, out.String())
		}
		if err := listLines(gpio.NewHost(&gpiofake.System{}), &out); err == nil {
			t.Error("a list of nothing")
		}
	})
}
