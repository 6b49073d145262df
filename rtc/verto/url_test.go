package verto

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestURL(t *testing.T) {
	tests := []struct {
		name        string
		change      func(*Config)
		host        string
		first, next string // queries
	}{
		{"plain", func(*Config) {}, "rtc.example", "", "voice_sdk_id=VSDK-1"},
		{"region", func(c *Config) { c.Region = "eu" }, "eu.rtc.example", "", "voice_sdk_id=VSDK-1"},
		{"nearest region", func(c *Config) { c.Region = "auto" }, "rtc.example", "", "voice_sdk_id=VSDK-1"},
		{"canary", func(c *Config) { c.Canary = true }, "rtc.example", "canary=true", "canary=true&voice_sdk_id=VSDK-1"},
		{"query", func(c *Config) { c.Query = url.Values{"a": {"1", "2"}} }, "rtc.example", "a=1&a=2", "a=1&a=2&voice_sdk_id=VSDK-1"},
		{"query of the URL", func(c *Config) { c.URL = "wss://rtc.example:8082/verto?b=3" }, "rtc.example:8082", "b=3", "b=3&voice_sdk_id=VSDK-1"},
		{"proxy", func(c *Config) { c.Query = url.Values{"rtc_ip": {"192.0.2.1"}, "rtc_port": {"5"}} }, "rtc.example",
			"rtc_ip=192.0.2.1&rtc_port=5", "rtc_ip=192.0.2.1&rtc_port=5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, stop := start(t, &platform{}, tt.change)
				defer stop()
				synctest.Wait()
				b.drop()
				time.Sleep(2 * time.Second)
				synctest.Wait()
				for i, query := range []string{tt.first, tt.next} {
					if u := b.url(i); u.Host != tt.host || u.RawQuery != query {
						t.Errorf("connection %d to %s, want host %s and query %s", i+1, u, tt.host, query)
					}
				}
			})
		})
	}
}

func TestBadRegion(t *testing.T) {
	for _, c := range []Config{
		{URL: "wss://rtc.example", Region: "evil.example/"},
		{URL: "wss://rtc.example", Region: "EU"},
		{URL: "wss://192.0.2.7:443", Region: "eu"},
		{URL: "wss://[2001:db8::1]", Region: "eu"},
	} {
		c.Credentials = userLogin
		if err := NewClient(c).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "line.region") {
			t.Errorf("region %q of %s: %v", c.Region, c.URL, err)
		}
	}
}

// Reports go to the host of the line, its region and all.
func TestReportURL(t *testing.T) {
	got, err := reportURL(&Config{URL: "wss://rtc.example:444/x?y=z", Region: "eu"})
	if want := "https://eu.rtc.example:444/call_report"; err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}
