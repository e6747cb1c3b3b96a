package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/membership"
	"github.com/waylume/waylume/shaping"
)

// FleetTokenBytes is how many random bytes an enrollment token has.
const FleetTokenBytes = 32

func fleetSettings() []Setting {
	place := func(unit string) codec[string] { return optional(text(unit, 1, registry.MaxNameLen)) }
	return []Setting{
		many("fleet.url", func(c *Config) *[]string { return &c.Fleet.URLs }, source(), words.None,
			"Where the fleet's control plane is asked over HTTPS, the first preferred",
			examples("https://project.supabase.co/functions/v1")),
		one("fleet.token", func(c *Config) *Secret { return &c.Fleet.Token }, optional(secret("enrollment token", validToken)), words.None,
			"The token that enrolls a node which has no credential yet; afterwards it is of no use", secretly),
		one("fleet.credential_file", func(c *Config) *string { return &c.Fleet.CredentialFile }, path("file"), "",
			"The node's credential in the fleet, made with the token if it is not there", inPath,
			derived("fleet.json in node.state", func(c *Config) { c.Fleet.CredentialFile = inState(c, "fleet.json") })),
		one("fleet.database", func(c *Config) *Secret { return &c.Fleet.Database },
			optional(secret("DSN of a PostgreSQL", func(string) error { return nil })), words.None,
			"The fleet's database, for a node that asks it itself, in place of fleet.url", secretly),
		many("fleet.pins", func(c *Config) *[]string { return &c.Fleet.Pins }, pin(), words.None,
			"The only public keys that the control plane's certificates may have, one of them in reserve"),
		one("fleet.region", func(c *Config) *string { return &c.Fleet.Region }, place("name"), words.None,
			"The operator's word for where the node is", examples("eu-central", words.None)),
		one("fleet.country", func(c *Config) *string { return &c.Fleet.Country }, optional(country()), words.None,
			"The country that it is in", examples("DE", words.None)),
		one("fleet.city", func(c *Config) *string { return &c.Fleet.City }, place("name"), words.None, "The city that it is in"),
		one("fleet.position", func(c *Config) *registry.Position { return &c.Fleet.Position }, optional(position()), words.None,
			"Where it stands, for distances to clients", examples("50.11 8.68", words.None)),
		one("fleet.geo_database", func(c *Config) *string { return &c.Fleet.GeoDatabase }, optional(path("file")), words.None,
			"A database of MaxMind's format that says what of that is not given, by the address of node.endpoint", inPath),
		one("fleet.pool", func(c *Config) *string { return &c.Fleet.Pool }, text("name", 1, registry.MaxNameLen), registry.DefaultPool,
			"The group of nodes that it is one of: sessions move within it"),
		one("fleet.capacity_peers", func(c *Config) *int { return &c.Fleet.CapacityPeers }, integer("peers", 0, registry.MaxPeers), "0",
			"How many peers it is meant to have; 0: as many as come"),
		one("fleet.capacity_rate", func(c *Config) *shaping.Rate { return &c.Fleet.CapacityRate }, rate(), "unlimited",
			"What its uplink carries each way; unlimited: what the interface says"),
		one("fleet.api_url", func(c *Config) *string { return &c.Fleet.APIURL }, optional(link()), words.None,
			"Where the control plane reaches this node's API; none: it does not, and places no session here",
			examples("https://fra-1.example.com:8443", words.None)),
		one("fleet.heartbeat", func(c *Config) *time.Duration { return &c.Fleet.Heartbeat },
			duration(membership.MinInterval, membership.MaxInterval), words.InWords(registry.DefaultInterval),
			"How often the node tells how it is, unless the fleet wants another time"),
		one("fleet.usage", func(c *Config) *bool { return &c.Fleet.Usage }, boolean(), "true",
			"Report to the fleet what each peer uses, from the log of usage"),
		one("fleet.usage_period", func(c *Config) *time.Duration { return &c.Fleet.UsagePeriod },
			duration(membership.MinUsagePeriod, membership.MaxUsagePeriod), words.InWords(membership.DefaultUsagePeriod),
			"How often it is looked for in that log, which node.usage_log says the period of"),
	}
}

// Set reports whether the node is to be in a fleet.
func (f Fleet) Set() bool { return len(f.URLs) > 0 || f.Database.Reveal() != "" }

func validToken(token string) error {
	if b, err := base64.RawURLEncoding.Strict().DecodeString(token); err != nil || len(b) != FleetTokenBytes {
		return errors.New("is no enrollment token, which has 43 characters in base64url")
	}
	return nil
}

func country() codec[string] {
	code := regexp.MustCompile(`^[A-Z]{2}$`)
	return codec[string]{
		unit: "ISO 3166-1 code in capitals",
		parse: func(text string) (string, error) {
			if !code.MatchString(text) {
				return "", fmt.Errorf("%q is no code of a country: give such as DE", clip(text))
			}
			return text, nil
		},
		format: asIs,
	}
}

func pin() codec[string] {
	return codec[string]{
		unit: "SHA-256 of a public key, as sha256/BASE64",
		parse: func(text string) (string, error) {
			word, ok := strings.CutPrefix(text, "sha256/")
			if b, err := base64.StdEncoding.Strict().DecodeString(word); !ok || err != nil || len(b) != 32 {
				return "", fmt.Errorf("%q is no pin: give sha256/ and 44 characters in base64", clip(text))
			}
			return text, nil
		},
		format: asIs,
	}
}

func position() codec[registry.Position] {
	return codec[registry.Position]{
		unit: "latitude and longitude in degrees",
		parse: func(text string) (p registry.Position, err error) {
			north, east, ok := strings.Cut(strings.TrimSpace(text), " ")
			if ok {
				p.Latitude, err = strconv.ParseFloat(north, 64)
			}
			if ok && err == nil {
				p.Longitude, err = strconv.ParseFloat(strings.TrimSpace(east), 64)
			}
			within := p.Latitude >= -90 && p.Latitude <= 90 && p.Longitude >= -180 && p.Longitude <= 180
			if !ok || err != nil || !within {
				return p, fmt.Errorf("%q is no position: give such as 50.11 8.68, north and east positive", clip(text))
			}
			return p, nil
		},
		format: func(p registry.Position) string {
			return strconv.FormatFloat(p.Latitude, 'f', -1, 64) + " " + strconv.FormatFloat(p.Longitude, 'f', -1, 64)
		},
	}
}

func (c checker) fleet() {
	f := c.cfg.Fleet
	if len(f.URLs) > 0 && f.Database.Reveal() != "" && c.sound("fleet.url", "fleet.database") {
		c.is("fleet.database", "is given beside fleet.url: give one of them")
	}
	if len(f.URLs) == 0 && c.sound("fleet.url") {
		for key, given := range map[string]bool{"fleet.token": f.Token.Reveal() != "", "fleet.pins": len(f.Pins) > 0} {
			if given && c.sound(key) {
				c.is(key, "is about fleet.url, which is none: give that, or leave it out")
			}
		}
	}
	if f.Set() && c.cfg.Node.Store == MemoryStore && c.sound("node.store") {
		c.is("node.store", "is %s, and a node in a fleet has to know its peers after a restart: set it to %s", MemoryStore, FileStore)
	}
	if name := c.cfg.Node.Name; f.Set() && c.sound("node.name") {
		beyond := func(r rune) bool {
			return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", r)
		}
		switch {
		case name == "":
			c.is("node.name", "is empty, and the fleet knows the node by it: give one")
		case len(name) > registry.MaxNameLen, strings.ContainsFunc(name, beyond):
			c.is("node.name", "is no name that a fleet takes: give 1 to %d letters, digits, '.', '_' and '-'", registry.MaxNameLen)
		}
	}
	// A node with another one's audience would be sent requests that are good for that one.
	if audience := c.cfg.API.Auth.Audience; len(f.URLs) > 0 && audience != "" && audience != c.cfg.Node.Name &&
		c.sound("api.auth.audience", "node.name", "fleet.url") {
		c.is("api.auth.audience", "is not node.name, which the control plane of fleet.url signs its requests for: leave it out")
	}
}
