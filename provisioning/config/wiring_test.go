package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWiring(t *testing.T) {
	path := write(t, credentials+`
[[buttons]]
name = "bell"
line = "gpiochip0:17"
active_low = true
bias = "pull-up"
debounce = "25ms"
double = "mute"
long = "hangup"
hold = "reset"
target = "house"
[[buttons]]
name = "mute"
line = "GPIO27"
press = "mute"
[board.led]
active_low = true
[board.led.rgb]
red = "GPIO5"
green = "GPIO6"
`)
	t.Setenv("SIDETONE_BOARD_LED_RGB_BLUE", "led:blue")
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Button{
		{Name: "bell", Line: "gpiochip0:17", ActiveLow: true, Bias: "pull-up", Debounce: Duration(25 * time.Millisecond),
			Double: "mute", Long: "hangup", Hold: "reset", Target: "house"},
		{Name: "mute", Line: "GPIO27", Press: "mute"},
	}
	if !reflect.DeepEqual(c.Buttons, want) || !c.Buttons[0].Calls() || c.Buttons[1].Calls() {
		t.Errorf("%+v", c.Buttons)
	}
	if led := (LED{ActiveLow: true, RGB: RGB{"GPIO5", "GPIO6", "led:blue"}}); c.Board.LED != led {
		t.Errorf("%+v", c.Board.LED)
	}
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Load(write(t, string(text))); err != nil || !reflect.DeepEqual(again.Board, c.Board) || !reflect.DeepEqual(again.Buttons, c.Buttons) {
		t.Errorf("%v, %+v from\n%s", err, again, text)
	}
}

func TestProblemsOfWiring(t *testing.T) {
	const button = credentials + "[[buttons]]\nname='a'\n"
	for name, test := range map[string]struct{ text, want string }{
		"bias":              {button + "target='b'\nbias='up'", `door1.toml:6:1: buttons[0].bias must be pull-up or pull-down or disabled, not "up"`},
		"debounce":          {button + "target='b'\ndebounce='1s'", "buttons[0].debounce must be from 1ms to 200ms, not 1s"},
		"press":             {button + "target='b'\npress='ring'", `buttons[0].press must be call or answer or hangup or mute or door, not "ring"`},
		"reset by a press":  {button + "target='b'\nlong='reset'", `buttons[0].long must be call or`},
		"a hold that calls": {button + "target='b'\nhold='call'", `buttons[0].hold must be reset, not "call"`},
		"nobody to call":    {button + "press='mute'\nlong='call'", "buttons[0].target must not be empty"},
		"a line twice":      {button + "line='x'\npress='mute'\n[[buttons]]\nname='b'\npress='mute'\nline='x'", `door1.toml:10:1: buttons[1].line "x" is taken by another button`},
		"a lamp of four":    {credentials + "[board.led]\nline='w'\nrgb={red='r',green='g',blue='b'}", "door1.toml:4:1: board.led.line must be empty when board.led.rgb is set"},
		"a lamp of two":     {credentials + "[board.led.rgb]\nred='r'\nblue='b'", "board.led.rgb.green must not be empty"},
		"unknown light":     {credentials + "[board.led.rgb]\nrot='r'", "unknown key board.led.rgb.rot"},
	} {
		t.Run(name, func(t *testing.T) {
			got := problemsOf(t, test.text)
			if len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}
