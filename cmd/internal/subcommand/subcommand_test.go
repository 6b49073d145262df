package subcommand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestProgram(t *testing.T) {
	var got []string
	p := Program{Name: "tool", About: "does things.", Notes: "That is all."}
	p.Commands = []Command{
		{Name: "go", Args: "[--fast] WHERE [WHEN]", About: "leave", Run: func(ctx context.Context, e Env, args []string) int {
			set := Flags(e, "tool go")
			fast := set.Bool("fast", false, "hurry")
			words, code, ok := Parse(e, set, args, 1, 2)
			if !ok {
				return code
			}
			got = append(words, fmt.Sprint(*fast, ctx.Err()))
			return p.Fail(e, 7, errors.New("no way"))
		}},
	}
	for _, c := range []struct {
		args     string
		code     int
		out, err string
		got      []string
	}{
		{"go there", 7, "", "tool: no way\n", []string{"there", "false <nil>"}},
		{"go there --fast now", 7, "", "tool: no way\n", []string{"there", "now", "true <nil>"}},
		{"go --fast -- --there", 7, "", "tool: no way\n", []string{"--there", "true <nil>"}},
		{"go", Usage, "", "tool go: takes 1 to 2 words, got 0\n", nil},
		{"go a b c", Usage, "", "takes 1 to 2 words, got 3\n", nil},
		{"go --slow", Usage, "", "flag provided but not defined: -slow\ntool go -h lists its flags, tool help its words\n", nil},
		{"go -h", OK, "Flags of tool go:\n  -fast\n    \thurry\n", "", nil},
		{"stay", Usage, "", `tool: there is no command "stay": tool help lists them`, nil},
		{"", Usage, "", "tool go [--fast] WHERE [WHEN]\n        leave\n", nil},
		{"help", OK, "tool does things.\n\nUsage:\n  tool go [--fast] WHERE [WHEN]\n        leave\n\nThat is all.\n", "", nil},
	} {
		got = nil
		var out, err bytes.Buffer
		code := p.Main(Env{Out: &out, Err: &err}, strings.Fields(c.args))
		if code != c.code || out.String() != c.out || !strings.Contains(err.String(), c.err) || !slices.Equal(got, c.got) {
			t.Errorf("%q: %d, %q, %q, %v", c.args, code, &out, &err, got)
		}
	}
	var out bytes.Buffer
	if p.Fail(Env{Err: &out}, 3, fmt.Errorf("stopped: %w", context.Canceled)) != 3 || out.Len() != 0 {
		t.Errorf("an interrupt is told: %q", &out)
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := Logger(Env{Err: &out}, "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud")
	if text := out.String(); strings.Contains(text, "quiet") || !strings.Contains(text, "loud") {
		t.Errorf("%q", text)
	}
	if _, err := Logger(Env{}, "shout"); err == nil {
		t.Error("shout is no level")
	}
}
