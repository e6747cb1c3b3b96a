// Package client is what a phone or a laptop is to the examples: a stock WireGuard device with a network stack, inside
// the process, so that an example can show its node at work without privilege. Close joins what Connect started.
//
//	device, err := client.Connect(config)
//	conn, err := device.DialContext(ctx, "tcp", "192.0.2.1:80")
package client

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/wgnode"
)

// Client is a connected device. Dial through its Net.
type Client struct {
	*netstack.Net
	device *device.Device
}

// Connect brings up the device that a client configuration describes. Its endpoint must be an IP address.
func Connect(cfg wgnode.ClientConfig) (*Client, error) {
	tun, net, err := clienttun.Create(cfg.Addrs, cfg.DNS, cfg.MTU)
	if err != nil {
		return nil, err
	}
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, "client: "))
	var text strings.Builder
	fmt.Fprintf(&text, "private_key=%s\npublic_key=%s\npreshared_key=%s\nendpoint=%s\n",
		hexKey(cfg.PrivateKey), hexKey(cfg.ServerKey), hexKey(cfg.PresharedKey), cfg.Endpoint)
	if cfg.Keepalive > 0 {
		fmt.Fprintf(&text, "persistent_keepalive_interval=%d\n", cfg.Keepalive/time.Second)
	}
	for _, prefix := range cfg.AllowedIPs {
		fmt.Fprintf(&text, "allowed_ip=%s\n", prefix)
	}
	if err := dev.IpcSet(text.String()); err != nil {
		dev.Close()
		return nil, err
	}
	if err := dev.Up(); err != nil {
		dev.Close()
		return nil, err
	}
	return &Client{Net: net, device: dev}, nil
}

// Close takes the device down.
func (c *Client) Close() error {
	c.device.Close()
	return nil
}

func hexKey(key wgtypes.Key) string { return hex.EncodeToString(key[:]) }
