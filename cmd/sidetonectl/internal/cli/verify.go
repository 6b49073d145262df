package cli

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/ota/bundle"
	"sidetone/ota/install"
)

// verify reads all that a device would read, by the same code.
func verify(ctx context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, "sidetonectl verify")
	board := set.String("board", "", "the `board` of the device")
	running := set.String("running", "v0.0.0", "the `version` that runs on it")
	device := set.String("device", "", "its `name`: whether it belongs to the share of the fleet that the release is offered to (default: do not ask)")
	first := set.String("root", "", "the root `file` that it was built with (default: metadata/1.root.json of the repository)")
	at := momentFlag(set, "at", "0s", "what its clock says")
	ca := set.String("ca", "", "the CA that the server's certificate is verified by, a PEM `file` (default: the system's)")
	words, code, ok := subcommand.Parse(e, set, args, 0, 1)
	if !ok {
		return code
	}
	if *board == "" {
		return tool.Fail(e, subcommand.Usage, errors.New("verify: say for which board, by --board, as rpi4"))
	}
	where := defaultRepo
	if len(words) == 1 {
		where = words[0]
	}
	source, err := open(where, *ca)
	if err == nil {
		err = (&walk{Env: e, source: source, board: *board, running: *running, device: *device, at: at.Time}).all(ctx, *first)
	}
	if err != nil {
		return tool.Fail(e, subcommand.Failed, fmt.Errorf("%s: %w", where, err))
	}
	return subcommand.OK
}

// open finds a repository by its URL or in a directory, which is read as if a server had it.
func open(where, ca string) (install.HTTP, error) {
	roots, err := pool(ca)
	if err != nil {
		return install.HTTP{}, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	u, err := url.Parse(where)
	if err != nil {
		return install.HTTP{}, err
	}
	if u.Scheme == "" {
		if _, err := os.Stat(filepath.Join(where, "metadata")); err != nil {
			return install.HTTP{}, fmt.Errorf("no repository is there: %w", err)
		}
		transport.RegisterProtocol("file", http.NewFileTransport(http.Dir(where)))
		u = &url.URL{Scheme: "file", Path: "/"}
	}
	return install.HTTP{URL: u, Client: &http.Client{Transport: transport}}, nil
}

// walk is one device's way through a repository.
type walk struct {
	subcommand.Env
	source                 install.HTTP
	board, running, device string
	at                     time.Time
}

func (w *walk) all(ctx context.Context, first string) error {
	fetch := func(name string, limit int64) ([]byte, error) { return w.source.Metadata(ctx, name, limit) }
	var b []byte
	var err error
	if first == "" {
		b, err = fetch("1.root.json", 1<<20)
	} else {
		b, err = os.ReadFile(first)
	}
	if err != nil {
		return fmt.Errorf("the first root: %w", err)
	}
	targets, trust, err := bundle.Trust{Root: b}.Refresh(fetch, w.board, w.at)
	if err != nil {
		return err
	}
	root, err := bundle.FirstRoot(trust.Root) // the last one, which was verified
	if err != nil {
		return err
	}
	fmt.Fprintf(w.Out, "root       version %d, good until %s\n", root.Version, root.Expires.Format(time.DateOnly))
	var stamp bundle.Timestamp
	if b, err = fetch("timestamp.json", 1<<20); err == nil {
		err = bundle.Open(b, root, bundle.TimestampRole, &stamp)
	}
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	fmt.Fprintf(w.Out, "timestamp  version %d, good until %s\n", stamp.Version, stamp.Expires.Format(time.DateTime))
	if targets == nil {
		fmt.Fprintf(w.Out, "board %s has no release: a device takes nothing\n", w.board)
		return nil
	}
	fmt.Fprintf(w.Out, "targets    version %d, good until %s: %s, offered to %s of the fleet\n",
		targets.Version, targets.Expires.Format(time.DateOnly), targets.Release, percent(targets.Share))
	if err := w.files(ctx, targets); err != nil {
		return err
	}
	w.verdict(targets)
	return nil
}

// files reads the image by chunks, and the deltas.
func (w *walk) files(ctx context.Context, t *bundle.Targets) error {
	body, err := w.source.Open(ctx, t.Image.Path, 0)
	if err != nil {
		return fmt.Errorf("targets/%s: %w", t.Image.Path, err)
	}
	defer body.Close()
	whole, bad := sha256.New(), []error(nil)
	b := make([]byte, t.Image.ChunkSize)
	for n := range t.Image.Chunks {
		at, size := t.Image.Chunk(n)
		if _, err := io.ReadFull(body, b[:size]); err != nil {
			return fmt.Errorf("targets/%s ends in chunk %d, which has %d bytes from %d on: %w", t.Image.Path, n, size, at, err)
		}
		whole.Write(b[:size])
		if err := t.Image.CheckChunk(n, b[:size]); err != nil {
			bad = append(bad, fmt.Errorf("targets/%s: %w (%d bytes from %d on)", t.Image.Path, err, size, at))
		}
	}
	if len(bad) > 0 {
		return errors.Join(bad...)
	}
	if string(whole.Sum(nil)) != string(t.Image.SHA256) {
		return fmt.Errorf("targets/%s: %w: every chunk is right, the whole is not", t.Image.Path, bundle.ErrMismatch)
	}
	fmt.Fprintf(w.Out, "image      %s, %d bytes in %d chunks\n", t.Image.Path, t.Image.Size, len(t.Image.Chunks))
	for _, d := range t.Deltas {
		if err := w.delta(ctx, d); err != nil {
			return fmt.Errorf("targets/%s: %w", d.Path, err)
		}
		fmt.Fprintf(w.Out, "delta      %s, %d bytes, for devices that run image %s\n", d.Path, d.Size, hex.EncodeToString(d.From[:6]))
	}
	return nil
}

func (w *walk) delta(ctx context.Context, d bundle.Delta) error {
	body, err := w.source.Open(ctx, d.Path, 0)
	if err != nil {
		return err
	}
	defer body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, body)
	switch {
	case err != nil:
		return err
	case n != d.Size || string(sum.Sum(nil)) != string(d.SHA256):
		return fmt.Errorf("%w: it has %d bytes, %d were signed, or other ones", bundle.ErrMismatch, n, d.Size)
	}
	return nil
}

func (w *walk) verdict(t *bundle.Targets) {
	who := strings.Join(strings.Fields(w.board+" "+w.device+" with "+w.running), " ")
	switch err := t.Offers(w.running); {
	case errors.Is(err, bundle.ErrCurrent):
		fmt.Fprintf(w.Out, "%s is up to date\n", who)
	case err != nil:
		fmt.Fprintf(w.Out, "%s takes nothing: %v\n", who, err)
	case w.device != "" && !t.Includes(w.device):
		fmt.Fprintf(w.Out, "%s takes nothing yet: it is not in the %s of the fleet that %s is offered to\n", who, percent(t.Share), t.Release)
	case t.Share == 0:
		fmt.Fprintf(w.Out, "%s takes nothing: %s is offered to nobody\n", who, t.Release)
	default:
		fmt.Fprintf(w.Out, "%s takes %s\n", who, t.Release)
	}
}
