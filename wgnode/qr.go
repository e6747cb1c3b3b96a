package wgnode

import (
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"rsc.io/qr"

	"github.com/waylume/waylume/internal/qrtext"
)

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
	return qrtext.Draw(code), nil
}

// QRPNG is the configuration as a QR code in a PNG image, black on white, with the quiet zone. It needs a private key.
func (c ClientConfig) QRPNG() ([]byte, error) {
	code, err := c.qrCode()
	if err != nil {
		return nil, err
	}
	return code.PNG(), nil
}
