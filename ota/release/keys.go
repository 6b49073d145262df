package release

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files of a key: NAME.key for who signs, NAME.pub for everybody.
const (
	privateExt, publicExt = ".key", ".pub"
	privateBlock          = "PRIVATE KEY" // PKCS #8
	publicBlock           = "PUBLIC KEY"  // SubjectPublicKeyInfo
)

// NewKey makes an ed25519 key and writes it to path.key, for its owner alone, and path.pub. A key that is there stays.
func NewKey(path string) (ed25519.PrivateKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	publicDER, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(path + publicExt); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there already, and keys are never overwritten: choose another name", path+publicExt)
	}
	if err := create(path+privateExt, 0o600, privateBlock, privateDER); err != nil {
		return nil, err
	}
	return private, create(path+publicExt, 0o644, publicBlock, publicDER)
}

// create writes a file that was not there.
func create(path string, mode fs.FileMode, block string, der []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and keys are never overwritten: choose another name", path)
	}
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, &pem.Block{Type: block, Bytes: der}), f.Sync(), f.Close())
}

// PrivateKeys reads NAME.key, or all those of a directory.
func PrivateKeys(path string) ([]ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	paths := []string{path}
	if info.IsDir() {
		if paths, err = filepath.Glob(filepath.Join(path, "*"+privateExt)); err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("no *%s is in %s", privateExt, path)
		}
	}
	var keys []ed25519.PrivateKey
	for _, p := range paths {
		der, err := read(p, privateBlock)
		if err != nil {
			return nil, err
		}
		key, err := x509.ParsePKCS8PrivateKey(der)
		private, is := key.(ed25519.PrivateKey)
		if err != nil || !is {
			return nil, fmt.Errorf("%s is no ed25519 key", p)
		}
		if info, err := os.Stat(p); err == nil && info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("%s can be read by others (mode %04o): chmod 600 it; if others may have read it, make another and rotate the root", p, info.Mode().Perm())
		}
		keys = append(keys, private)
	}
	return keys, nil
}

// PublicKey reads NAME.pub.
func PublicKey(path string) (ed25519.PublicKey, error) {
	der, err := read(path, publicBlock)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	public, is := key.(ed25519.PublicKey)
	if err != nil || !is {
		return nil, fmt.Errorf("%s is no ed25519 key", path)
	}
	return public, nil
}

func read(path, block string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, _ := pem.Decode(b)
	if p == nil || p.Type != block {
		return nil, fmt.Errorf("%s holds no %s in PEM", path, strings.ToLower(block))
	}
	return p.Bytes, nil
}
