package board

import (
	"slices"
	"strings"
	"testing"
)

func TestLookup(t *testing.T) {
	p, err := Lookup("sim")
	if err != nil || p.Name != "sim" || !p.Terminal || p.LED != LEDTerminal {
		t.Errorf("%+v, %v", p, err)
	}
	p.Buttons[0].Name = "changed"
	if again, _ := Lookup("sim"); again.Buttons[0].Name != "call" {
		t.Error("a caller can change the profile")
	}
	if _, err := Lookup("rpi9"); err == nil || !strings.Contains(err.Error(), "there is sim") {
		t.Errorf("%v", err)
	}
	if !slices.Contains(Names(), "sim") {
		t.Error(Names())
	}
}
