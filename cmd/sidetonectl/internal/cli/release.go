package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/ota/bundle"
	"sidetone/ota/release"
)

func releaseImage(_ context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, "sidetonectl release")
	repo, signers := repository(set), keyFlag(set)
	var rel release.Release
	set.Var((*list)(&rel.From), "from", "an older `image`, from which a delta is made; may be given more than once")
	set.StringVar(&rel.MinimumVersion, "minimum", "", "the oldest `version` that can take it, as v1.2.3 (default: any)")
	set.StringVar(&rel.Summary, "summary", "", "what is new, in a `line`")
	set.StringVar(&rel.URL, "url", "", "where people read more, a `URL`")
	expires := momentFlag(set, "expires", "365d", "until when the release is offered, unless it is released once more")
	valid := momentFlag(set, "valid", "7d", "until when the stamp is good: stamp again before")
	to := set.String("share", "100", "the `percentage` of the fleet that it is offered to")
	words, code, ok := subcommand.Parse(e, set, args, 3, 3)
	if !ok {
		return code
	}
	part, err := share(*to)
	if err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	rel.Board, rel.Version, rel.Image, rel.Expires = words[0], words[1], words[2], expires.Time
	targets, file, err := repo.Add(rel, *signers...)
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	fmt.Fprintf(e.Out, "%s for %s: %d bytes, metadata %s\n", targets.Release, targets.Board, targets.Image.Size, file)
	for _, d := range targets.Deltas {
		fmt.Fprintf(e.Out, "delta from %x…: %d bytes, %.1f %% of it\n", d.From[:6], d.Size, 100*float64(d.Size)/float64(targets.Image.Size))
	}
	if n := len(rel.From) - len(targets.Deltas); n > 0 {
		fmt.Fprintf(e.Out, "%d of %d older images have too little in common with it for a delta\n", n, len(rel.From))
	}
	left, err := repo.Offer(map[string]release.Offer{targets.Board: {Share: part}}, valid.Time, *signers...)
	if errors.Is(err, bundle.ErrSignature) {
		fmt.Fprintf(e.Out, "not out yet: %v\nwhere keys of targets are:       sidetonectl sign %s --key KEY\nwhere that of the timestamp is: sidetonectl stamp --key KEY --share %s=%s --repo %s\n",
			err, file, targets.Board, *to, repo.Dir)
		return subcommand.OK
	}
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return offered(e, *repo, left)
}

func stamp(_ context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, "sidetonectl stamp")
	repo, signers := repository(set), keyFlag(set)
	valid := momentFlag(set, "valid", "7d", "until when the stamp is good")
	var offers list
	set.Var(&offers, "share", "offer the release of a board to this much of the fleet: `BOARD=PERCENT`; 0 takes it back; may be given more than once")
	if _, code, ok := subcommand.Parse(e, set, args, 0, 0); !ok {
		return code
	}
	shares := map[string]release.Offer{}
	for _, o := range offers {
		board, p, is := strings.Cut(o, "=")
		part, err := share(p)
		if !is || err != nil {
			return tool.Fail(e, subcommand.Usage, fmt.Errorf("--share %s: say BOARD=PERCENT, as rpi4=10", o))
		}
		shares[board] = release.Offer{Share: part}
	}
	left, err := repo.Offer(shares, valid.Time, *signers...)
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return offered(e, *repo, left)
}

// offered tells what is current, and what is not although it is there.
func offered(e subcommand.Env, repo release.Repository, left []error) int {
	stamp, err := repo.Timestamp()
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	fmt.Fprintf(e.Out, "stamp %d, good until %s\n", stamp.Version, stamp.Expires.Format(time.DateTime))
	for _, board := range slices.Sorted(maps.Keys(stamp.Targets)) {
		t, err := repo.Current(board)
		if err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
		fmt.Fprintf(e.Out, "  %s  %s, offered to %s of the fleet\n", board, t.Release, percent(t.Share))
	}
	for _, err := range left {
		fmt.Fprintf(e.Err, "sidetonectl: not offered: %v\n", err)
		if errors.Is(err, release.ErrNotOffered) {
			fmt.Fprintln(e.Err, "sidetonectl: say whom, by --share BOARD=PERCENT")
		}
	}
	return subcommand.OK
}
