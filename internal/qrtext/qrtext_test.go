package qrtext_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"rsc.io/qr"

	"github.com/waylume/waylume/internal/qrtext"
)

// Each module of the code is where it should be, also in the last row of an odd number.
func TestDraw(t *testing.T) {
	code, err := qr.Encode("https://example.com", qr.L)
	require.NoError(t, err)
	require.Equal(t, 1, code.Size%2)
	size := code.Size + 2*qrtext.QuietZone
	lines := strings.Split(strings.TrimSuffix(qrtext.Draw(code), "\n"), "\n")
	require.Len(t, lines, (size+1)/2)
	for i, line := range lines {
		require.Equal(t, size, utf8.RuneCountInString(line))
		for x, r := range []rune(line) {
			upper, lower := r == '█' || r == '▀', r == '█' || r == '▄'
			x, y := x-qrtext.QuietZone, 2*i-qrtext.QuietZone
			require.Equal(t, !code.Black(x, y), upper)
			require.Equal(t, 2*i+1 < size && !code.Black(x, y+1), lower)
		}
	}
}
