package v1_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func TestUnits(t *testing.T) {
	var limit api.SpeedLimit
	require.NoError(t, json.Unmarshal([]byte(`{"download": "20mbit", "upload": 5000000}`), &limit))
	require.Equal(t, api.SpeedLimit{Download: 20_000_000, Upload: 5_000_000}, limit)
	written, err := json.Marshal(limit)
	require.NoError(t, err)
	require.JSONEq(t, `{"download": 20000000, "upload": 5000000}`, string(written))

	var dataCap api.DataCap
	require.NoError(t, json.Unmarshal([]byte(`{"bytes": "5GiB", "period": {"kind": "rolling", "window": "36h"}}`), &dataCap))
	require.Equal(t, api.DataCap{Bytes: 5 << 30, Period: api.Period{Kind: "rolling", Window: api.Duration(36 * time.Hour)}}, dataCap)
	written, err = json.Marshal(dataCap)
	require.NoError(t, err)
	require.JSONEq(t, `{"bytes": 5368709120, "period": {"kind": "rolling", "window": "36h0m0s"}}`, string(written))
}

func TestUnitsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`-1`:                   `-1 is not it: give bytes as a whole number, or a text like "5GiB"`,
		`1.5`:                  `1.5 is not it: give bytes as a whole number, or a text like "5GiB"`,
		`18446744073709551616`: `18446744073709551616 is out of range: give bytes as a whole number, or a text like "5GiB"`,
		`{"a": 1}`:             `{"a": 1} is not it: give bytes as a whole number, or a text like "5GiB"`,
	} {
		var bytes api.Bytes
		require.EqualError(t, bytes.UnmarshalJSON([]byte(text)), want)
	}
	var bytes api.Bytes
	require.ErrorContains(t, json.Unmarshal([]byte(`"5G"`), &bytes), "5G")
	var d api.Duration
	require.EqualError(t, json.Unmarshal([]byte(`"3d"`), &d),
		`"3d" is not a duration: give hours, minutes and seconds, like "72h" or "1h30m"`)
}

func TestKey(t *testing.T) {
	key := api.Key{0xff, 0xef, 31: 1}
	for _, text := range []string{
		"/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=", "/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
		"_-8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=", "_-8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
	} {
		var read api.Key
		require.NoError(t, read.UnmarshalText([]byte(text)), text)
		require.Equal(t, key, read)
	}
	require.Equal(t, "_-8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", key.ID())
	require.Equal(t, "/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=", key.String())
	for _, text := range []string{
		"", "=", "AAAA", "/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAF=", "/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE==",
		"/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n=", "/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA",
	} {
		var read api.Key
		require.Error(t, read.UnmarshalText([]byte(text)), text)
	}
}

func TestPatch(t *testing.T) {
	written, err := json.Marshal(api.PeerPatch{
		ExpiresAt:  api.Null[time.Time](),
		SpeedLimit: api.Set(api.SpeedLimitPatch{Upload: api.Set(api.Rate(8000))}),
	})
	require.NoError(t, err)
	require.JSONEq(t, `{"expires_at": null, "speed_limit": {"upload": 8000}}`, string(written))
	var read api.PeerPatch
	require.NoError(t, json.Unmarshal(written, &read))
	require.Equal(t, api.Null[time.Time](), read.ExpiresAt)
	require.EqualValues(t, 8000, *read.SpeedLimit.Value.Upload.Value)
	require.True(t, read.Account.IsZero())
}

func FuzzKey(f *testing.F) {
	f.Add("/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=")
	f.Add("_-8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE")
	f.Fuzz(func(t *testing.T, text string) {
		var key api.Key
		if key.UnmarshalText([]byte(text)) != nil {
			return
		}
		var again api.Key
		require.NoError(t, again.UnmarshalText([]byte(key.ID())))
		require.Equal(t, key, again)
		require.Contains(t, []int{43, 44}, len(text))
	})
}

func FuzzUnits(f *testing.F) {
	f.Add(`"20mbit"`)
	f.Add(`"5GiB"`)
	f.Add(`1e3`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, value := range []any{new(api.Rate), new(api.Bytes), new(api.Duration)} {
			if json.Unmarshal([]byte(text), value) != nil {
				continue
			}
			_, err := json.Marshal(value)
			require.NoError(t, err)
		}
	})
}
