package ask

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What does not fit a narrow terminal is left out, the least important first, and said to be.
func TestNarrowTerminal(t *testing.T) {
	peers := []api.Peer{{Name: "phone", Account: "family", SpeedLimit: api.SpeedLimit{Download: 8000}, PublicKey: api.Key{2}}}
	show := func(width int) string {
		var out bytes.Buffer
		require.NoError(t, ShowPeers(console.Console{Writer: &out, Terminal: true, Width: width}, peers))
		return out.String()
	}
	whole := show(0)
	require.Contains(t, whole, "│ Expires │")
	for _, width := range []int{95, 80, 60, 40} {
		shown := show(width)
		first, _, _ := strings.Cut(shown, "\n")
		require.LessOrEqual(t, text.StringWidth(first), width)
		require.Contains(t, shown, "For want of width without Expires")
		require.Contains(t, shown, "│ State")
	}
	require.Contains(t, show(10), "│ phone │ AgAAAAAA │", "what is left stays")
	require.Equal(t, whole, show(200))
}

func TestText(t *testing.T) {
	for want, got := range map[string]string{
		"unlimited": rateText(0), "999 bit/s": rateText(999), "20 Mbit/s": rateText(20e6), "1.5 Gbit/s": rateText(1.5e9), "64 kbit/s": rateText(64e3),
		"2 Tbit/s": rateText(2e12), "5 GiB": bytesText(5 << 30), "500 MB": bytesText(500e6), "1.0 KiB": amountText(1024), "1023 B": amountText(1023),
		"16.0 EiB": amountText(1<<64 - 1), "none": Limit(api.SpeedLimit{}), "↓ 8 kbit/s ↑ unlimited": Limit(api.SpeedLimit{Download: 8000}),
		"suspended, account suspended, expired": State(api.Peer{Suspended: true, AccountSuspended: true, Expired: true}),
		"512.0 MiB of 1 GiB, 50 %":              usedText(api.Usage{Used: 512 << 20, Limit: 1 << 30}),
		"1.0 GiB of 1 GiB, 100 %, used up":      usedText(api.Usage{Used: 1 << 30, Limit: 1 << 30, Depleted: true}),
		"no limit monthly":                      Cap(&api.DataCap{Period: api.Period{Kind: "monthly"}}),
	} {
		require.Equal(t, want, got)
	}
}

func TestTime(t *testing.T) {
	now := time.Date(2026, 11, 21, 18, 0, 0, 5, time.UTC)
	for words, want := range map[string]time.Time{
		"never": {}, "2026-12-31": time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), "30d": time.Date(2026, 12, 21, 18, 0, 0, 0, time.UTC),
		"90m": time.Date(2026, 11, 21, 19, 30, 0, 0, time.UTC),
	} {
		var w Words
		require.Equal(t, want, w.Time("TIME", words, now))
		require.NoError(t, w.Err())
	}
	for _, words := range []string{"", "-1h", "0s", "soon", "2026-13-01"} {
		var w Words
		w.Time("TIME", words, now)
		require.ErrorContains(t, w.Err(), "is not a time", words)
	}
}

// What was not saved leaves no file, and what was is there for its owner alone.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.conf")
	file, err := NewFile(path)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	_, err = os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)

	file, err = NewFile(path)
	require.NoError(t, err)
	_, err = NewFile(path)
	require.ErrorIs(t, err, os.ErrExist)
	require.NoError(t, file.Save("text"))
	require.NoError(t, file.Close())
	saved, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "text", string(saved))

	require.NoError(t, os.Remove(path))
	file, err = NewFile(path)
	require.NoError(t, err)
	require.NoError(t, file.file.Close())
	require.Error(t, file.Save("text"), "as a full disk would have it")
	require.Error(t, file.Close())
	_, err = os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzSecrets(f *testing.F) {
	f.Add("[Interface]\nPrivateKey = AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Add("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "key")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		secrets, err := ReadSecrets(path)
		require.Equal(t, err == nil, secrets.private != api.Key{})
	})
}
