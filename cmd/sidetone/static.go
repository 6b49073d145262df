//go:build !desktop

package main

import _ "sidetone/cmd/sidetone/internal/static"
