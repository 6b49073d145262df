package config

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Roots gives the system's trusted roots and those in the PEM file besides. "" gives nil, which is the system's alone.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	// A device without system roots is no error: then the file's are all there are.
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s: no certificate in it; it must be PEM (-----BEGIN CERTIFICATE-----)", file)
	}
	return pool, nil
}
