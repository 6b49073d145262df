// Package subcommand is what the command lines of our programs have in common: sub-commands, each with its flags, which may
// stand anywhere among its words.
package subcommand

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes.
const (
	OK     = 0
	Failed = 1
	Usage  = 2 // wrong words
)

// Env is what a sub-command reads and writes.
type Env struct {
	In       *os.File
	Out, Err io.Writer
}

// Command is one sub-command. Run gives the exit code; its context ends at SIGINT and SIGTERM.
type Command struct {
	Name, Args, About string
	Run               func(ctx context.Context, e Env, args []string) int
}

// Program is a list of sub-commands.
type Program struct {
	Name, About string
	Notes       string // end the usage
	Commands    []Command
}

// Main runs the sub-command in args and returns the exit code. A second Ctrl-C ends the process at once.
func (p Program) Main(e Env, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if len(args) == 0 {
		p.usage(e.Err)
		return Usage
	}
	switch args[0] {
	case "help", "-h", "--help":
		p.usage(e.Out)
		return OK
	}
	for _, c := range p.Commands {
		if c.Name == args[0] {
			return c.Run(ctx, e, args[1:])
		}
	}
	fmt.Fprintf(e.Err, "%s: there is no command %q: %[1]s help lists them\n", p.Name, args[0])
	return Usage
}

func (p Program) usage(w io.Writer) {
	fmt.Fprintf(w, "%s %s\n\nUsage:\n", p.Name, p.About)
	for _, c := range p.Commands {
		fmt.Fprintf(w, "  %s %s\n        %s\n", p.Name, strings.TrimSpace(c.Name+" "+c.Args), c.About)
	}
	fmt.Fprintf(w, "\n%s\n", p.Notes)
}

// Flags makes the flag set of a sub-command; name is the program's and its own.
func Flags(e Env, name string) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(e.Err)
	set.Usage = func() {} // Parse says what helps
	return set
}

// Parse reads flags wherever they stand among the other words, and gives these, of which there must be least to most.
// When it is not ok the sub-command ends with code.
func Parse(e Env, set *flag.FlagSet, args []string, least, most int) (words []string, code int, ok bool) {
	for {
		if code, ok := ParseFlags(e, set, args); !ok {
			return nil, code, false
		}
		if set.NArg() == 0 {
			break
		}
		words = append(words, set.Arg(0))
		args = set.Args()[1:]
	}
	if len(words) < least || len(words) > most {
		fmt.Fprintf(e.Err, "%s: takes %s, got %d\n", set.Name(), count(least, most), len(words))
		return nil, wrong(e, set), false
	}
	return words, OK, true
}

// ParseFlags reads the flags before the first other word. When it is not ok the sub-command ends with code.
func ParseFlags(e Env, set *flag.FlagSet, args []string) (code int, ok bool) {
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(e.Out, "Flags of %s:\n", set.Name())
		set.SetOutput(e.Out)
		set.PrintDefaults()
		return OK, false
	}
	if err != nil {
		return wrong(e, set), false
	}
	return OK, true
}

// wrong tells where the right words stand.
func wrong(e Env, set *flag.FlagSet) int {
	program, _, _ := strings.Cut(set.Name(), " ")
	fmt.Fprintf(e.Err, "%s -h lists its flags, %s help its words\n", set.Name(), program)
	return Usage
}

func count(least, most int) string {
	switch {
	case most == 0:
		return "no further word"
	case least < most:
		return fmt.Sprintf("%d to %d words", least, most)
	case most == 1:
		return "1 word"
	}
	return fmt.Sprintf("%d words", most)
}

// Fail prints err for a person, unless somebody interrupted us, and gives code.
func (p Program) Fail(e Env, code int, err error) int {
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintf(e.Err, "%s: %v\n", p.Name, err)
	}
	return code
}

// Logger writes to e.Err from a level on: debug, info, warn or error.
func Logger(e Env, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: say debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(e.Err, &slog.HandlerOptions{Level: l})), nil
}
