package bench

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// plainDevice is stock WireGuard, for what exits are compared with.
type plainDevice struct{ *device.Device }

// startPlain starts WireGuard with nothing behind it but a TUN of the host's, or the model of a stock exit.
func startPlain(o exitOrder) (d *plainDevice, port uint16, err error) {
	var t tun.Device
	if o.Dataplane == bare {
		t, _, err = tun.CreateUnmonitoredTUNFromFD(o.TUN)
	} else {
		t, err = newStockTUN(tunnelMTU)
	}
	if err != nil {
		return nil, 0, err
	}
	d = &plainDevice{device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))}
	config := fmt.Sprintf("private_key=%x\n", o.Private[:])
	for _, p := range o.State.Peers {
		config += fmt.Sprintf("public_key=%x\n", p.PublicKey[:])
		for _, a := range p.Addrs {
			config += fmt.Sprintf("allowed_ip=%s/%d\n", a, a.BitLen())
		}
	}
	if err := d.IpcSet(config); err != nil {
		return nil, 0, err
	}
	if err := d.Up(); err != nil {
		return nil, 0, err
	}
	report, err := d.IpcGet()
	if err != nil {
		return nil, 0, err
	}
	n, err := strconv.ParseUint(value(report, "listen_port"), 10, 16)
	return d, uint16(n), err
}

// value is what a device's report says of a key first; empty if it says nothing.
func value(report, key string) string {
	for line := range strings.Lines(report) {
		if v, ok := strings.CutPrefix(line, key+"="); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// masked are the networks of prefixes.
func masked(list []netip.Prefix) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, p.Masked())
	}
	return out
}
