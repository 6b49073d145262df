package cli

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/ota/bundle"
	"sidetone/ota/release"
)

func keygen(_ context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, "sidetonectl keygen")
	words, code, ok := subcommand.Parse(e, set, args, 1, 100)
	if !ok {
		return code
	}
	for _, name := range words {
		key, err := release.NewKey(name)
		if err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
		fmt.Fprintf(e.Out, "%s  %s.key\n", bundle.KeyID(key.Public().(ed25519.PublicKey)), name)
	}
	return subcommand.OK
}

func root(_ context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, "sidetonectl root")
	repo, signers := repository(set), keyFlag(set)
	roles := []bundle.Role{bundle.RootRole, bundle.TargetsRole, bundle.TimestampRole}
	paths, thresholds := make([]list, len(roles)), make([]int, len(roles))
	for n, role := range roles {
		set.Var(&paths[n], string(role)+"-key", fmt.Sprintf("a public `key` (NAME.pub) of %s; may be given more than once (default: those there are)", role))
		set.IntVar(&thresholds[n], string(role)+"-threshold", 0, fmt.Sprintf("how many keys of %s have to sign (default: as before, at first 1)", role))
	}
	expires := momentFlag(set, "expires", "1825d", "until when the root is good")
	publish := set.String("publish", "", "put a draft that was signed elsewhere where devices follow it: its `file`")
	if _, code, ok := subcommand.Parse(e, set, args, 0, 0); !ok {
		return code
	}
	if *publish != "" {
		return published(e, *repo, *publish, repo.PublishRoot(*publish))
	}
	var keys [3]release.Keys
	for n := range roles {
		public, err := publicKeys(paths[n])
		if err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
		keys[n] = release.Keys{Public: public, Threshold: thresholds[n]}
	}
	draft, err := repo.DraftRoot(keys[0], keys[1], keys[2], expires.Time, *signers...)
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	if err = repo.PublishRoot(draft); errors.Is(err, bundle.ErrSignature) {
		fmt.Fprintf(e.Out, "not out yet: %v\n%s", err, nextForRoot(*repo, draft))
		return subcommand.OK
	}
	return published(e, *repo, draft, err)
}

func nextForRoot(repo release.Repository, draft string) string {
	return fmt.Sprintf("where the other keys are: sidetonectl sign %[1]s --key KEY\nthen here:                sidetonectl root --publish %[1]s --repo %[2]s\n", draft, repo.Dir)
}

// published tells what became of a draft.
func published(e subcommand.Env, repo release.Repository, draft string, err error) int {
	if errors.Is(err, bundle.ErrSignature) {
		err = fmt.Errorf("%w\n%s", err, nextForRoot(repo, draft))
	}
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	r, err := repo.CurrentRoot()
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	describeRoot(e, *r)
	if r.Version == 1 {
		fmt.Fprintf(e.Out, "devices are built with %s/metadata/1.root.json (update.root_file)\n", repo.Dir)
	} else {
		fmt.Fprintln(e.Out, "stamp what is current with the keys that are good now: sidetonectl stamp")
	}
	return subcommand.OK
}

func describeRoot(e subcommand.Env, r bundle.Root) {
	fmt.Fprintf(e.Out, "root version %d, good until %s\n", r.Version, r.Expires.Format(time.DateOnly))
	for _, role := range []bundle.Role{bundle.RootRole, bundle.TargetsRole, bundle.TimestampRole} {
		fmt.Fprintf(e.Out, "  %s: %d of %d keys sign\n", role, r.Roles[role].Threshold, len(r.Roles[role].KeyIDs))
		for _, id := range r.Roles[role].KeyIDs {
			fmt.Fprintf(e.Out, "    %s\n", id)
		}
	}
}

// sign shows what it signs: whoever holds a key offline has nothing else to go by. Without a key it only shows it.
func sign(_ context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, "sidetonectl sign")
	signers := keyFlag(set)
	words, code, ok := subcommand.Parse(e, set, args, 1, 1)
	if !ok {
		return code
	}
	signed, err := release.Sign(words[0], *signers...)
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	if err := describe(e, signed); err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	if len(*signers) == 0 {
		return tool.Fail(e, subcommand.Usage, errors.New("sign: nothing was signed; say with which key, by --key"))
	}
	for _, s := range signed.Signatures {
		own := slices.ContainsFunc(*signers, func(k ed25519.PrivateKey) bool { return bundle.KeyID(k.Public().(ed25519.PublicKey)) == s.KeyID })
		fmt.Fprintf(e.Out, "signed by %s%s\n", s.KeyID, map[bool]string{true: "  (now)"}[own])
	}
	return subcommand.OK
}

func describe(e subcommand.Env, signed bundle.Envelope) error {
	var kind bundle.Common
	if err := json.Unmarshal(signed.Payload, &kind); err != nil {
		return err
	}
	switch kind.Type {
	case bundle.RootRole:
		var r bundle.Root
		if err := json.Unmarshal(signed.Payload, &r); err != nil {
			return err
		}
		describeRoot(e, r)
	case bundle.TargetsRole:
		var t bundle.Targets
		if err := json.Unmarshal(signed.Payload, &t); err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "release %s for %s (metadata version %d), good until %s\n  image %s, %d bytes\n  SHA-256 %s\n",
			t.Release, t.Board, t.Version, t.Expires.Format(time.DateOnly), t.Image.Path, t.Image.Size, hex.EncodeToString(t.Image.SHA256))
	default:
		fmt.Fprintf(e.Out, "%s version %d, good until %s\n", kind.Type, kind.Version, kind.Expires.Format(time.DateTime))
	}
	return nil
}
