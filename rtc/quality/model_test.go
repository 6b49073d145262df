package quality

import (
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s = %.12f, want %.12f", what, got, want)
	}
}

func TestDelayImpairment(t *testing.T) {
	near(t, "Idd(50)", delayImpairment(50), 0)
	near(t, "Idd(100)", delayImpairment(100), 0)
	// X = log2(2) = 1: 25 * (2^(1/6) - 3*(730/729)^(1/6) + 2)
	near(t, "Idd(200)", delayImpairment(200), 3.0444142235187543)
	// X = 2: 25 * (65^(1/6) - 3*(793/729)^(1/6) + 2)
	near(t, "Idd(400)", delayImpairment(400), 24.070089219772616)
	near(t, "Idd(NaN)", delayImpairment(math.NaN()), 0)
}

func TestLossImpairment(t *testing.T) {
	near(t, "no loss", lossImpairment(0, 0, 1, 10), 0)
	near(t, "1 %", lossImpairment(0, 1, 1, 10), 95.0/11)
	near(t, "5 %", lossImpairment(0, 5, 1, 10), 95*5/15.0)
	near(t, "5 % in bursts", lossImpairment(0, 5, 2, 10), 95*5/12.5)
	near(t, "5 % with FEC", lossImpairment(0, 5, 1, 20), 95*5/25.0)
	near(t, "ie", lossImpairment(11, 5, 1, 10), 11+84*5/15.0)
}

func TestMOSOfR(t *testing.T) {
	for r, want := range map[float64]float64{-5: 1, 0: 1, 5: 1, 50: 2.575, 60: 3.1, 80: 4.024, 93.2: 4.409285824, 100: 4.5, 120: 4.5} {
		near(t, "MOS", mosOf(r), want)
	}
	for r := 0.0; r < 100; r += 0.1 {
		if mosOf(r) > mosOf(r+0.1)+1e-9 {
			t.Errorf("MOS falls from R = %v", r)
		}
	}
}

func TestTelnyxScores(t *testing.T) {
	for _, c := range []struct{ jitter, rtt, loss, stats, warning float64 }{
		{0, 0, 0, 4.409285824, 4.409285824},
		{10, 40, 0, 4.394917421056, 0},
		{30, 400, 2, 3.0953759588424883, 0}, // latency 230 ms, past the knee at 177.3
		{30, 400, 1, 0, 4.145771272},
		{50, 100, 10, 0, 3.1876210090000003},
	} {
		if c.stats != 0 {
			near(t, "telnyxMOS", telnyxMOS(c.jitter, c.rtt, c.loss), c.stats)
		}
		if c.warning != 0 {
			near(t, "warningMOS", warningMOS(c.jitter, c.rtt, c.loss), c.warning)
		}
	}
	if m := telnyxMOS(1e6, 1e6, 100); m < 1 || m > 5 {
		t.Errorf("out of range: %v", m)
	}
}

func TestConditionsAreWhole(t *testing.T) {
	seen := map[int]bool{}
	names := map[string]bool{}
	for _, c := range Conditions() {
		if seen[c.Code] || names[c.Name] || c.Name == "" || c.Message == "" || c.Cause == "" || c.Action == "" || c.Fatal && c.Code >= 31001 && c.Code < 40000 {
			t.Errorf("%+v", c)
		}
		seen[c.Code], names[c.Name] = true, true
		if got, ok := Lookup(c.Code); !ok || got != c {
			t.Errorf("Lookup(%d) = %+v", c.Code, got)
		}
	}
	if len(seen) != 24+26 {
		t.Errorf("%d conditions", len(seen))
	}
	if _, ok := Lookup(1); ok {
		t.Error("1 is no code")
	}
}
