package wggo

import (
	"fmt"
	"math"
	"time"
)

// mostActive is what wireguard-go can have, but for a margin for those that leave (device.MaxPeers is 65,536).
const mostActive = 65_000

// validate says what is wrong with a configuration.
func (cfg Config) validate() error {
	switch {
	case cfg.Idle < 0:
		return fmt.Errorf("the idle time is %v: it must not be negative", cfg.Idle)
	case cfg.MaxActive < 0 || cfg.MaxActive > mostActive:
		return fmt.Errorf("at most %d peers are to be active: that must be 0 to %d", cfg.MaxActive, mostActive)
	}
	return nil
}

// validate says what no device would take; nothing is changed by a change that has it.
func validate(peers []Peer) error {
	for _, p := range peers {
		if p.Keepalive < 0 || p.Keepalive > math.MaxUint16*time.Second {
			return fmt.Errorf("peer %v: the keepalive interval is %v: it must be 0 to 65,535 s", p.PublicKey, p.Keepalive)
		}
		for _, prefix := range p.AllowedIPs {
			if !prefix.IsValid() || prefix.Addr().Zone() != "" {
				return fmt.Errorf("peer %v: the allowed IP %v is not a prefix", p.PublicKey, prefix)
			}
		}
	}
	return nil
}
