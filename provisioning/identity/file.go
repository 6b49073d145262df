package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// maxSecret is the largest secret read, in bytes: a JWT is below 4 KB.
const maxSecret = 64 << 10

// tokenFile is a JWT in a file, which whoever renews it may replace at any time.
type tokenFile struct {
	path  string
	files *SecretFiles
}

func (t *tokenFile) issue(context.Context) (grant, error) {
	token, err := t.files.Read("token file", t.path, "write the JWT there or set line.token_url")
	return grant{Credentials: Credentials{Token: token}, file: t.path}, err
}

// login is a user whose password stands in a file.
type login struct {
	user, path string
	files      *SecretFiles
}

func (l *login) issue(context.Context) (grant, error) {
	password, err := l.files.Read("password file", l.path, "write the password of line.login there")
	return grant{Credentials: Credentials{User: l.user, Password: password}, file: l.path}, err
}

// ErrUnusable is wrapped by errors about a file that is missing, empty or no secret. A daemon waits for the file to come;
// whoever wants one call now need not.
var ErrUnusable = errors.New("credentials file of no use")

type unusable struct{ error }

// Is implements errors.Is.
func (unusable) Is(target error) bool { return target == ErrUnusable }

// SecretFiles reads files that only their owner should be able to read, and warns once of each that every user may.
type SecretFiles struct {
	log *slog.Logger

	mu     sync.Mutex
	warned map[string]bool
}

// NewSecretFiles warns there.
func NewSecretFiles(log *slog.Logger) *SecretFiles {
	return &SecretFiles{log: log, warned: map[string]bool{}}
}

// Read gives the secret in the file at path without the space around it. what names the file in errors, and todo says
// what to do when it is not there.
func (s *SecretFiles) Read(what, path, todo string) (Secret, error) {
	b, err := s.Content(what, path, todo)
	if err != nil {
		return Secret{}, err
	}
	text := strings.TrimSpace(string(b))
	switch {
	case text == "":
		return Secret{}, unusable{fmt.Errorf("%s %s is empty; %s", what, path, todo)}
	case strings.ContainsAny(text, "\r\n"):
		return Secret{}, unusable{fmt.Errorf("%s %s has more than one line; it must hold the secret alone", what, path)}
	}
	return NewSecret(text), nil
}

// Content gives the whole of a file.
func (s *SecretFiles) Content(what, path, todo string) ([]byte, error) {
	b, err := s.content(what, path, todo)
	if info, err := os.Stat(path); err == nil {
		s.warnOfMode(what, path, info.Mode())
	}
	return b, err
}

func (s *SecretFiles) content(what, path, todo string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, unusable{fmt.Errorf("%s %s: no such file; %s", what, path, todo)}
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s %s may not be read by this user; change its owner (%w)", what, path, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(b) > maxSecret {
		return nil, fmt.Errorf("%s %s is larger than %d KiB; is it the right file?", what, path, maxSecret>>10)
	}
	return b, nil
}

// warnOfMode says once that others may read a secret.
func (s *SecretFiles) warnOfMode(what, path string, mode fs.FileMode) {
	if mode.Perm()&0o007 == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.warned[path] {
		s.warned[path] = true
		s.log.Warn("every user of this machine may read a secret; give it mode 0600", "what", what, "file", path, "mode", fmt.Sprintf("%04o", mode.Perm()))
	}
}
