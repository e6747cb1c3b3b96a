// Package keyfile keeps a WireGuard private key in a file of its own: one line in base64, as "wg genkey" writes it, that only
// its owner may read.
//
//	key, err := keyfile.Read("/var/lib/waylume/node.key")
//	if errors.Is(err, fs.ErrNotExist) {
//		key, err = wgtypes.GeneratePrivateKey()
//		...
//		err = keyfile.Create("/var/lib/waylume/node.key", key)
//	}
//
// A key that was written is on the disk when Create or Replace returns, whole, and at every moment before that the file is what
// it was. One that was removed is off it when Remove returns, as far as names go: its bytes may remain in blocks that are free. The
// package starts nothing and needs no privilege.
package keyfile
