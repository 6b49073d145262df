package cli

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sidetone/ota"
	"sidetone/ota/rollout"
)

// page are the commands of docs/updates.md, by section, each as somebody types it; in them, what is elsewhere for a test.
type page struct {
	desk
	text  string
	wants *strings.Replacer
}

// newPage reads the page, and has a server show the repository.
func newPage(t *testing.T) page {
	b, err := os.ReadFile("../../../../docs/updates.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	server := httptest.NewTLSServer(http.FileServer(http.Dir("updates")))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	d.must(os.WriteFile("ca.pem", ca, 0o600))
	return page{d, string(b), strings.NewReplacer("https://updates.example/", server.URL+" --ca ca.pem")}
}

// blocks gives the commands of each code block below a heading.
func (p page) blocks(heading string) (blocks [][]string) {
	p.Helper()
	_, section, is := strings.Cut(p.text, "\n## "+heading+"\n")
	if !is {
		p.Fatalf("the page has no section %s", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range regexp.MustCompile("(?s)```\n(.*?)```").FindAllStringSubmatch(section, -1) {
		var lines []string
		for line := range strings.Lines(strings.ReplaceAll(m[1], "\\\n", " ")) {
			line, _, _ = strings.Cut(line, " #")
			if line, is := strings.CutPrefix(strings.TrimSpace(line), "sidetonectl "); is {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 { // else it is not for an operator
			blocks = append(blocks, lines)
		}
	}
	return blocks
}

// types has commands succeed one after the other, and gives what the last one says. The images that they name are made.
func (p page) types(lines []string) (out string) {
	p.Helper()
	for _, line := range lines {
		for _, word := range strings.Fields(line) {
			if _, err := os.Stat(word); err != nil && filepath.Ext(word) == ".img" {
				p.image(word)
			}
		}
		out = p.does(p.wants.Replace(line))
	}
	return out
}

// TestPageKeys types what the page has for keys: the ceremony, a release, and the way out when the targets key is stolen.
func TestPageKeys(t *testing.T) {
	p := newPage(t)
	blocks := p.blocks("Keys")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks, want 3: %q", len(blocks), blocks)
	}
	p.image("image-v1.3.0.img")
	p.image("image.img", "image-v1.3.0.img")
	p.types(blocks[0])
	first, err := os.ReadFile("updates/metadata/1.root.json")
	p.must(err)
	p.must(os.WriteFile("built-in.json", first, 0o600)) // what the devices were built with
	if out := p.types(blocks[1]); !strings.Contains(out, "rpi4 with v1.3.0 takes v1.4.0") || !strings.Contains(out, "100 % of the fleet") || !strings.Contains(out, "delta      rpi4/v1.4.0-from-") {
		t.Error(out)
	}

	// The thief releases too, and is believed.
	p.image("evil.img")
	p.does("release rpi4 v1.4.0-1 evil.img --key targets.key --key timestamp.key")
	p.types(blocks[2])
	p.does("verify updates --board rpi4 --running v1.4.0 --root built-in.json", "root       version 2", "takes v1.4.1")
	p.image("worse.img")
	p.run("release rpi4 v1.9.0 worse.img --key targets.key --key timestamp.key")
	p.does("verify updates --board rpi4 --running v1.4.1 --root built-in.json", "up to date")
}

// TestPageRollout types what the page has for a roll-out, to a fleet that has taken the release before it asks.
func TestPageRollout(t *testing.T) {
	p := newPage(t)
	p.types(p.blocks("Keys")[0])
	blocks := p.blocks("Roll-outs")
	if len(blocks) != 1 {
		t.Fatalf("%d blocks, want 1: %q", len(blocks), blocks)
	}
	f := newFleet(p.desk, 3)
	for n := range 3 {
		f.says(n, rollout.Report{Installed: "v1.4.0", Latest: "v1.4.0", Phase: ota.Committed})
	}
	p.wants = strings.NewReplacer("mqtts://broker:8883", f.url, "--user operator", "--user op --stage 0s")
	if out := p.types(blocks[0]); !strings.Contains(out, "100 % of the fleet") {
		t.Error(out)
	}
}
