package board

import (
	"flag"
	"fmt"
	"html"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the pictures and the table of docs/boards.md anew")

// TestDocs holds the pictures and the table of docs/boards.md against the profiles.
func TestDocs(t *testing.T) {
	docs := filepath.Join("..", "docs")
	board := profile(t, "rpi4", KindBoard)
	for _, name := range Names(KindBoard) {
		if name != "sim" && !slices.Equal(profile(t, name, KindBoard).Pins, board.Pins) {
			t.Errorf("%s has pins of its own, and no picture", name)
		}
	}
	for _, name := range Names(KindSound) {
		compare(t, filepath.Join(docs, "board-"+name+".svg"), picture(board, profile(t, name, KindSound)))
	}
	page := filepath.Join(docs, "boards.md")
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	compare(t, page, before+begin+table(t)+end+after)
}

const begin, end = "<!-- from the profiles -->\n", "<!-- end -->\n"

func profile(t *testing.T, name string, kind Kind) Profile {
	t.Helper()
	p, err := Lookup(name, t.TempDir(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func compare(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != want {
		t.Errorf("%s is not what the profiles say (%v); go test ./board -run TestDocs -update writes it", file, err)
	}
}

// table lists the profiles.
func table(t *testing.T) string {
	var b strings.Builder
	b.WriteString("\n| profile | what it is | config.txt | pins |\n|---|---|---|---|\n")
	for _, kind := range []Kind{KindBoard, KindSound} {
		for _, name := range Names(kind) {
			p := profile(t, name, kind)
			var boot, pins []string
			for _, l := range p.Boot {
				boot = append(boot, "`"+l+"`")
			}
			for _, pin := range p.Pins {
				if pin.GPIO >= 0 {
					pins = append(pins, fmt.Sprintf("%d (GPIO%d) %s", pin.Pin, pin.GPIO, pin.Use))
				}
			}
			fmt.Fprintf(&b, "| `board.%s = \"%s\"` | %s | %s | %s |\n", map[Kind]string{KindBoard: "profile", KindSound: "sound"}[kind], name,
				p.Title, strings.Join(boot, "<br>"), strings.Join(pins, "<br>"))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// picture draws the header's pins, seen from above with the board's edge at the right, and what is wired to them.
func picture(parts ...Profile) string {
	const (
		row, top, middle = 24, 56, 430
		height           = top + 20*row + 16
	)
	uses := map[int]string{}
	var titles []string
	for _, p := range parts {
		title, _, _ := strings.Cut(p.Title, " (")
		titles = append(titles, title)
		if slices.ContainsFunc(p.Pins, isButton) { // it takes the place of the board's
			maps.DeleteFunc(uses, func(_ int, use string) bool { return isButton(Pin{Use: use}) })
		}
		for _, pin := range p.Pins {
			uses[pin.Pin] = pin.Use
		}
	}
	titles[0] = "Raspberry Pi, 40-pin header"
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", 2*middle, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", 2*middle, height)
	fmt.Fprintf(&b, `<text x="%d" y="28" text-anchor="middle" font-size="16">%s</text>`+"\n", middle, html.EscapeString(strings.Join(titles, " with ")))
	fmt.Fprintf(&b, `<rect x="%d" y="%d" width="60" height="%d" rx="4" fill="#e8e8e8" stroke="#555"/>`+"\n", middle-30, top-12, 20*row)
	for pin := 1; pin <= 40; pin++ {
		y := top + (pin-1)/2*row
		side, anchor := -1, "end"
		if pin%2 == 0 {
			side, anchor = 1, "start"
		}
		x := middle + side*13
		name, colour := power[pin], "#222"
		switch {
		case name == "5 V":
			colour = "#c62828"
		case name == "3.3 V":
			colour = "#ef8f00"
		case name == "":
			name, colour = fmt.Sprintf("GPIO%d", header[pin]), "#bbb"
			if uses[pin] != "" {
				colour = "#1565c0"
			}
		}
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="9" fill="%s"/>`, x, y, colour)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" font-size="10" fill="%s">%d</text>`, x, y+4, map[bool]string{true: "#000", false: "#fff"}[colour == "#bbb"], pin)
		grey := map[bool]string{true: "#222", false: "#999"}[uses[pin] != ""]
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="%s" fill="%s">%s</text>`, middle+side*36, y+4, anchor, grey, name)
		if uses[pin] != "" {
			fmt.Fprintf(&b, `<path d="M%d %dh%d" stroke="%s" stroke-width="2"/>`, middle+side*84, y, side*20, colour)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="%s">%s</text>`, middle+side*110, y+4, anchor, html.EscapeString(uses[pin]))
		}
		b.WriteString("\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func isButton(p Pin) bool { return strings.HasPrefix(p.Use, "button:") }
