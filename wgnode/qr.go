package wgnode

import (
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"rsc.io/qr"
)

// quietZone is the margin, in modules, without which scanners miss a code (ISO/IEC 18004, section 5.3.8).
const quietZone = 4

// qrCode encodes the configuration at the least error correction, which is ample on a screen and keeps the code of a
// usual configuration within 80 columns.
func (c ClientConfig) qrCode() (*qr.Code, error) {
	if c.PrivateKey == (wgtypes.Key{}) {
		return nil, &ValidationError{"client configuration", []Problem{{"PrivateKey",
			"is not set: an app cannot use a code without the device's private key"}}}
	}
	return qr.Encode(c.String(), qr.L)
}

// QRText is the configuration as a QR code in half-block characters, two rows of modules to a line of text, with the quiet
// zone around it. Light modules are drawn and dark ones left empty, which is right for light text on a dark terminal;
// today's apps also read the negative that a light terminal shows. It needs a private key.
func (c ClientConfig) QRText() (string, error) {
	code, err := c.qrCode()
	if err != nil {
		return "", err
	}
	// Past the lower edge of an odd number of rows nothing is drawn, so that the code ends where its quiet zone does.
	end := code.Size + quietZone
	light := func(x, y int) bool { return y < end && !code.Black(x, y) }

	var b strings.Builder
	for y := -quietZone; y < end; y += 2 {
		for x := -quietZone; x < end; x++ {
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
	return b.String(), nil
}

// QRPNG is the configuration as a QR code in a PNG image, black on white, with the quiet zone. It needs a private key.
func (c ClientConfig) QRPNG() ([]byte, error) {
	code, err := c.qrCode()
	if err != nil {
		return nil, err
	}
	return code.PNG(), nil
}
