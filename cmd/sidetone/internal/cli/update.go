package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone/internal/control"
)

// Exit codes of `update`, besides the common ones.
const (
	exitUpdating = 4 // an update is on its way, or waits
	exitReverted = 5 // the last one did not stay, or was never booted
)

// errNoUpdates is why there is nothing to say.
var errNoUpdates = errors.New("the device has no updates: update.url in its config is empty")

// checkTimeout bounds the wait for what a check finds.
const checkTimeout = time.Minute

// update is `update [status|check|force|defer DURATION|cancel]`.
func update(ctx context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "update")
	asJSON := set.Bool("json", false, "print JSON")
	cfg, words, code := prepare(e, set, file, args, 0, 2)
	if cfg == nil {
		return code
	}
	act := control.UpdateAct("status")
	if len(words) > 0 {
		act = control.UpdateAct(words[0])
	}
	request := any(struct{}{})
	switch act {
	case "status", control.UpdateCheck, control.UpdateForce, control.UpdateCancel:
		if len(words) > 1 {
			return updateUsage(e)
		}
	case control.UpdateDefer:
		if len(words) < 2 {
			return updateUsage(e)
		}
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return updateUsage(e)
		}
		request = control.DeferRequest{Seconds: d.Seconds()}
	default:
		return updateUsage(e)
	}
	client := control.NewClient(cfg.Control.Socket)
	u, err := updateStatus(ctx, client)
	if err == nil && act != "status" {
		if err = doWithin(ctx, client, "update-"+string(act), request); err == nil {
			u, err = settled(ctx, client, act, u)
		}
	}
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	if *asJSON {
		json.NewEncoder(e.Out).Encode(u)
	} else {
		printUpdate(e, u)
	}
	return updateCode(u)
}

func updateUsage(e subcommand.Env) int {
	fmt.Fprintln(e.Err, "sidetone update: say `update [status|check|force|defer 2h|cancel] [--json] --config F`")
	return subcommand.Usage
}

func doWithin(ctx context.Context, c *control.Client, command string, request any) error {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	return c.Do(ctx, command, request, nil)
}

func updateStatus(ctx context.Context, c *control.Client) (control.Update, error) {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	s, err := c.Status(ctx)
	switch {
	case err != nil:
		return control.Update{}, err
	case s.Update == nil:
		return control.Update{}, errNoUpdates
	}
	return *s.Update, nil
}

// settled waits, after a check, until its answer is there.
func settled(ctx context.Context, c *control.Client, act control.UpdateAct, before control.Update) (control.Update, error) {
	late := time.Now().Add(checkTimeout)
	for {
		u, err := updateStatus(ctx, c)
		asked := act == control.UpdateCheck || act == control.UpdateForce
		if err != nil || !asked || u.LastCheck.After(before.LastCheck) || onItsWay(u) || time.Now().After(late) {
			return u, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return u, ctx.Err()
		}
	}
}

func onItsWay(u control.Update) bool {
	return u.InProgress || u.Phase == "ready" || u.Phase == "waiting"
}

// updateCode says what happened.
func updateCode(u control.Update) int {
	switch {
	case onItsWay(u):
		return exitUpdating
	case u.NotAgain:
		return exitReverted
	case u.Phase == control.UpdatesOff || u.Reason != "":
		return subcommand.Failed
	}
	return subcommand.OK
}

func printUpdate(e subcommand.Env, u control.Update) {
	fmt.Fprintf(e.Out, "installed  %s\n", u.InstalledVersion)
	fmt.Fprintf(e.Out, "latest     %s\n", u.LatestVersion)
	if u.ReleaseSummary != "" || u.ReleaseURL != "" {
		fmt.Fprintf(e.Out, "           %s\n", cmp.Or(u.ReleaseSummary, u.ReleaseURL))
	}
	phase := u.Phase
	if u.UpdatePercentage != nil {
		phase += fmt.Sprintf(", %d %%", *u.UpdatePercentage)
	}
	fmt.Fprintf(e.Out, "phase      %s\n", phase)
	if u.Reason != "" {
		fmt.Fprintf(e.Out, "reason     %s\n", u.Reason)
	}
	if !u.DeferredUntil.IsZero() {
		fmt.Fprintf(e.Out, "deferred   until %s\n", u.DeferredUntil.Local().Format(time.DateTime))
	}
	if !u.LastCheck.IsZero() {
		fmt.Fprintf(e.Out, "checked    %s\n", u.LastCheck.Local().Format(time.DateTime))
	}
}
