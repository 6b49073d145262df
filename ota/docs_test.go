package ota

import (
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "draw docs/update-states.svg anew")

// TestDrawing holds docs/update-states.svg against what Step does.
func TestDrawing(t *testing.T) {
	file, want := filepath.Join("..", "docs", "update-states.svg"), picture(changes())
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != want {
		t.Errorf("%s is not what Step does (%v); go test ./ota -run TestDrawing -update draws it", file, err)
	}
}

// change is a change of phase, and all that brings it about.
type change struct{ from, to Phase }

// changes tries every input in every state that can be reached.
func changes() map[change][]string {
	l := Limits{Tries: 2, Starts: 2, Transitions: 1 << 30}
	type named struct {
		name string
		Input
	}
	inputs := []named{
		{"the old system boots", booted("a", "1", false)}, {"the old system boots", booted("a", "2", false)},
		{"the new system boots", booted("b", "2", true)}, {"the new system boots", booted("b", "3", true)}, {"it boots, committed", booted("b", "2", false)},
	}
	for _, k := range []InputKind{OnCheck, OnFound, OnNothing, OnProgress, OnDone, OnTrouble, OnBad, OnQuiet, OnBusy, OnHealthy, OnUnhealthy, OnDefer, OnCancel, OnForce} {
		inputs = append(inputs, named{string(k), kinds(k)[0]})
	}
	first, _ := l.Step(State{}, booted("a", "1", false))
	found, seen := map[change][]string{}, map[string]bool{}
	for todo := []State{first}; len(todo) > 0; todo = todo[1:] {
		s := todo[0]
		for _, in := range inputs {
			next, _ := l.Step(s, in.Input)
			if next.Transitions = 0; next.From == "b" { // after a commit: the same by another name
				next.From, next.Target, next.Tries = next.Target, next.From, 0
			}
			key, _ := json.Marshal(next)
			if !seen[string(key)] {
				seen[string(key)] = true
				todo = append(todo, next)
			}
			name := in.name
			if in.Kind == OnBoot && !(s.Phase == Trying || s.Phase == Probation) {
				if in.Running != "a" {
					continue // nobody armed it
				}
				name = "power cut"
			}
			if c := (change{s.Phase, next.Phase}); c.from != c.to && !slices.Contains(found[c], name) {
				found[c] = append(found[c], name)
			}
		}
	}
	return found
}

// work is what is done in a phase.
var work = map[Phase]string{
	Idle: "until it is time to ask", Checking: "metadata is verified", Downloading: "verified chunks are written", Verifying: "the body is read back",
	Writing: "the head is written, all read back", Ready: "may it be booted?", Waiting: "until it may", Trying: "it is booted once", Probation: "health has to hold",
	Committed: "the new system stays", RolledBack: "the old system came back", Failed: "the old system never went",
}

// picture draws the phases in the order of an update that goes well, what leads on, and beside each where else it may go.
func picture(found map[change][]string) string {
	const (
		row, left, box, exits = 84, 30, 250, 350
		width                 = 900
	)
	height := len(phases)*row + 20
	line := []Phase{Idle, Checking, Downloading, Verifying, Writing, Ready, Trying, Probation, Committed}
	order := append(slices.Clone(line[:6]), Waiting, Trying, Probation, Committed, RolledBack, Failed)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#444"/></marker></defs>`+"\n")
	colour := map[Phase]string{Committed: "#d7efd7", RolledBack: "#f6d9d5", Failed: "#f6d9d5", Trying: "#fff0cc", Probation: "#fff0cc"}
	fill := func(p Phase) string {
		if c, is := colour[p]; is {
			return c
		}
		return "#e6eef8"
	}
	at := func(p Phase) int { return 10 + row*slices.Index(order, p) }
	text := func(x, y int, size int, s string) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="%d">%s</text>`+"\n", x, y, size, html.EscapeString(s))
	}
	for _, p := range order {
		y := at(p)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="42" rx="5" fill="%s" stroke="#555"/>`+"\n", left, y, box, fill(p))
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left+10, y+17, p)
		text(left+10, y+34, 12, work[p])
		next := Phase("")
		if i := slices.Index(line, p); i >= 0 && i+1 < len(line) {
			next = line[i+1]
		} else if p == Waiting {
			next = Trying
		}
		if next != "" {
			why := strings.Join(found[change{p, next}], ", ")
			x := left + box/2
			if p == Ready { // past the one beside it
				fmt.Fprintf(&b, `<path d="M%d %dH%dV%dH%d" fill="none" stroke="#444" marker-end="url(#to)"/>`+"\n", left, y+21, left-16, at(next)+21, left)
				text(left+10, y+57, 12, why+": past waiting")
			} else {
				fmt.Fprintf(&b, `<path d="M%d %dV%d" stroke="#444" marker-end="url(#to)"/>`+"\n", x, y+42, at(next))
				text(x+10, y+58, 12, why)
			}
		}
		column := 0
		for _, to := range order {
			why := found[change{p, to}]
			if len(why) == 0 || to == next {
				continue
			}
			x, y := exits, y+column*20-4
			column++
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="82" height="18" rx="9" fill="%s" stroke="#999"/>`+"\n", x, y, fill(to))
			text(x+8, y+13, 12, string(to))
			text(x+88, y+13, 11, strings.Join(why, ", "))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
