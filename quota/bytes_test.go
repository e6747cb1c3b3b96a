package quota_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/quota"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]quota.Bytes{
		"0": 0, "0GiB": 0, "1024": 1024, "1024B": 1024, "1b": 1, "5GiB": 5 << 30, "5gib": 5 << 30, "5 GiB": 5 << 30,
		" 5GIB ": 5 << 30, "5GB": 5_000_000_000, "5gb": 5_000_000_000, "1.5KiB": 1536, "1.5kB": 1500, "007MB": 7_000_000,
		"0.3GiB": 322_122_547, "0.0005kB": 1, "0.0004kB": 0, "1EiB": quota.MaxBytes, "1EB": 1e18,
		"1152921504606846976": quota.MaxBytes, "1152921504606846975": quota.MaxBytes - 1, "1024PiB": quota.MaxBytes,
		"2TiB": 2 << 40, "2TB": 2e12, "3PB": 3e15,
	} {
		got, err := quota.ParseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestParseBytesErrors(t *testing.T) {
	for text, want := range map[string]error{
		"": quota.ErrBytesSyntax, "GiB": quota.ErrBytesSyntax, "-1": quota.ErrBytesSyntax, "+1": quota.ErrBytesSyntax,
		"5G": quota.ErrBytesSyntax, "5Gi": quota.ErrBytesSyntax, "5Gbit": quota.ErrBytesSyntax, "1.": quota.ErrBytesSyntax,
		".5GiB": quota.ErrBytesSyntax, "1.2.3": quota.ErrBytesSyntax, "1e3": quota.ErrBytesSyntax, "0x10": quota.ErrBytesSyntax,
		"1_000": quota.ErrBytesSyntax, "1/2": quota.ErrBytesSyntax, "5GiBB": quota.ErrBytesSyntax, "٣": quota.ErrBytesSyntax,
		"1ZiB": quota.ErrBytesSyntax, "NaN": quota.ErrBytesSyntax, strings.Repeat("9", 65): quota.ErrBytesSyntax,
		"1152921504606846977": quota.ErrBytesRange, "2EiB": quota.ErrBytesRange, "1.1EiB": quota.ErrBytesRange,
		strings.Repeat("9", 60) + "EiB": quota.ErrBytesRange,
	} {
		_, err := quota.ParseBytes(text)
		require.ErrorIs(t, err, want, text)
		require.Less(t, len(err.Error()), 200, "an error must not repeat a long text")
	}
}

func TestBytesString(t *testing.T) {
	for amount, want := range map[quota.Bytes]string{
		0: "0B", 1: "1B", 1000: "1kB", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 1152: "1.125KiB", 1025: "1025B",
		5 * quota.GiB: "5GiB", 5_000_000_000: "5GB", quota.MaxBytes: "1EiB", quota.GiB + 1: "1073741825B",
		1500 * quota.MiB: "1500MiB", math.MaxUint64: "18446744073709551615B",
	} {
		require.Equal(t, want, amount.String())
	}
}

func TestBytesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Multiples of odd powers exercise the units, which random amounts hardly ever hit.
		b := quota.Bytes(rapid.Uint64Range(0, 5000).Draw(t, "n")) << rapid.IntRange(0, 47).Draw(t, "shift")
		if rapid.Bool().Draw(t, "any") {
			b = quota.Bytes(rapid.Uint64Range(0, uint64(quota.MaxBytes)).Draw(t, "bytes"))
		}
		data, err := json.Marshal(b)
		require.NoError(t, err)
		var got quota.Bytes
		require.NoError(t, json.Unmarshal(data, &got))
		require.Equal(t, b, got)
	})
}

func FuzzParseBytes(f *testing.F) {
	for _, text := range []string{"5GiB", "5GB", "1024", "1.5 kb", "", "-1", "9.9.9", "1EiB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := quota.ParseBytes(text)
		if err != nil {
			require.Zero(t, b)
			return
		}
		require.LessOrEqual(t, b, quota.MaxBytes)
		again, err := quota.ParseBytes(b.String())
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}
