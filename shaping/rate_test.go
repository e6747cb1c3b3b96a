package shaping

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"unlimited":      Unlimited,
		" Unlimited ":    Unlimited,
		"20mbit":         20e6,
		"20Mbit":         20e6,
		"20 Mbit/s":      20e6,
		"1.5gbit":        1.5e9,
		"100kbit":        100e3,
		"800bit":         800,
		"800":            800,
		"1kibit":         1024,
		"1MiBit":         1 << 20,
		"2mbps":          16e6,
		"1.5MiBps":       12 << 20,
		"1tbit":          MaxRate,
		".5mbit":         500e3,
		"5.mbit":         5e6,
		"0.0000081gbit":  8100,
		"1.0004bit":      1,
		"00020mbit":      20e6,
		"1000000000kbit": MaxRate,
	} {
		got, err := ParseRate(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestParseRateRefuses(t *testing.T) {
	for text, want := range map[string]error{
		"":                               ErrRateSyntax,
		"mbit":                           ErrRateSyntax,
		"-1mbit":                         ErrRateSyntax,
		"+1mbit":                         ErrRateSyntax,
		"1e6":                            ErrRateSyntax,
		"0x10":                           ErrRateSyntax,
		"1.2.3mbit":                      ErrRateSyntax,
		".":                              ErrRateSyntax,
		"20m":                            ErrRateSyntax,
		"20xbit":                         ErrRateSyntax,
		"20mmbit":                        ErrRateSyntax,
		"20ibit":                         ErrRateSyntax,
		"20mbps/s":                       ErrRateSyntax,
		"20mbit/h":                       ErrRateSyntax,
		"inf":                            ErrRateSyntax,
		"nan":                            ErrRateSyntax,
		"20mbit\x00":                     ErrRateSyntax,
		"٢mbit":                          ErrRateSyntax,
		"0":                              ErrRateRange,
		"0mbit":                          ErrRateRange,
		"0.1bit":                         ErrRateRange,
		"1.1tbit":                        ErrRateRange,
		"2tbps":                          ErrRateRange,
		strings.Repeat("9", 400) + "bit": ErrRateRange,
	} {
		_, err := ParseRate(text)
		require.ErrorIs(t, err, want, text)
		require.Less(t, len(err.Error()), 200, "an error does not repeat any length of hostile text")
	}
}

func TestRateString(t *testing.T) {
	for want, r := range map[string]Rate{
		"unlimited":    Unlimited,
		"20mbit":       20e6,
		"1.5gbit":      1.5e9,
		"8kbit":        MinRate,
		"1tbit":        MaxRate,
		"999bit":       999,
		"1.024kbit":    1024,
		"1234.567kbit": 1234567,
		"1.05mbit":     1050000,
	} {
		require.Equal(t, want, r.String())
	}
}

func TestRateSurvivesText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.Uint64Range(0, uint64(MaxRate)).Draw(t, "rate"))
		parsed, err := ParseRate(strings.ToUpper(r.String()))
		require.NoError(t, err)
		require.Equal(t, r, parsed)

		b, err := json.Marshal(Limit{Download: r})
		require.NoError(t, err)
		var l Limit
		require.NoError(t, json.Unmarshal(b, &l))
		require.Equal(t, Limit{Download: r}, l)
	})
}

func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"20mbit", "1.5 Gbit/s", "2MBps", "unlimited", "0", "1kibit", "999999999999999999999", ".5tbit"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRate(text)
		if err != nil {
			require.Zero(t, r)
			return
		}
		require.LessOrEqual(t, r, MaxRate)
		again, err := ParseRate(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func TestRateValidate(t *testing.T) {
	for _, r := range []Rate{Unlimited, MinRate, MaxRate, 20e6} {
		require.NoError(t, r.Validate())
	}
	for _, r := range []Rate{1, MinRate - 1, MaxRate + 1, math.MaxUint64} {
		require.ErrorIs(t, r.Validate(), ErrRateRange)
	}
	err := Limit{Download: 1, Upload: MaxRate + 1}.Validate()
	require.ErrorIs(t, err, ErrRateRange)
	require.ErrorContains(t, err, "download")
	require.ErrorContains(t, err, "upload")
}

func TestLower(t *testing.T) {
	require.Equal(t, Rate(5), Rate(5).Lower(Unlimited))
	require.Equal(t, Rate(5), Unlimited.Lower(5))
	require.Equal(t, Rate(4), Rate(5).Lower(4))
	require.Equal(t, Unlimited, Unlimited.Lower(Unlimited))
	a, b := Limit{Download: 20e6}, Limit{Download: 1e6, Upload: 1e6}
	require.Equal(t, b, a.Lower(b))
	require.Equal(t, "20mbit down, unlimited up", a.String())
	require.Equal(t, "unlimited", Limit{}.String())
}

// TestRateArithmetic holds Bytes and Duration to exact rational arithmetic.
func TestRateArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.Uint64Min(1).Draw(t, "rate"))
		n := rapid.Int64Min(1).Draw(t, "bytes")
		d := time.Duration(rapid.Int64Min(1).Draw(t, "duration"))
		perNano := new(big.Rat).SetFrac(new(big.Int).SetUint64(uint64(r)), big.NewInt(unitsPerByte))

		exact := new(big.Rat).Mul(perNano, new(big.Rat).SetInt64(int64(d)))
		floor := new(big.Int).Quo(exact.Num(), exact.Denom())
		if floor.IsInt64() {
			require.Equal(t, floor.Int64(), r.Bytes(d))
		} else {
			require.EqualValues(t, math.MaxInt64, r.Bytes(d))
		}

		exact.Quo(new(big.Rat).SetInt64(n), perNano)
		ceil, rest := new(big.Int).QuoRem(exact.Num(), exact.Denom(), new(big.Int))
		if rest.Sign() > 0 {
			ceil.Add(ceil, big.NewInt(1))
		}
		if ceil.IsInt64() {
			require.EqualValues(t, ceil.Int64(), r.Duration(n))
		} else {
			require.EqualValues(t, math.MaxInt64, r.Duration(n))
		}
	})
	require.EqualValues(t, math.MaxInt64, Unlimited.Bytes(time.Second))
	require.Zero(t, Unlimited.Duration(1000))
	require.Zero(t, Rate(1e6).Bytes(-time.Second))
	require.Zero(t, Rate(1e6).Duration(-1))
}
