// Package qrtext draws QR codes with characters.
package qrtext

import (
	"strings"

	"rsc.io/qr"
)

// QuietZone is the margin, in modules, without which scanners miss a code (ISO/IEC 18004, section 5.3.8).
const QuietZone = 4

// Draw is a code in half-block characters, two rows of modules to a line of text, with the quiet zone around it. Light modules are drawn
// and dark ones left empty, which is right for light text on a dark terminal; today's apps also read the negative that a light terminal
// shows.
func Draw(code *qr.Code) string {
	// Past the lower edge of an odd number of rows nothing is drawn, so that the code ends where its quiet zone does.
	end := code.Size + QuietZone
	light := func(x, y int) bool { return y < end && !code.Black(x, y) }

	var b strings.Builder
	for y := -QuietZone; y < end; y += 2 {
		for x := -QuietZone; x < end; x++ {
			switch upper, lower := light(x, y), light(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
