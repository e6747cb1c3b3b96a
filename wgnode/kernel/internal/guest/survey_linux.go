package guest

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// Found is a table of another's that judges packets which are forwarded or come to the host.
type Found struct {
	nft.Table
	// Programs are those whose names for chains or tables are in it, sorted.
	Programs []string
	// Forward and Input report that it drops by default what is forwarded, and what comes to the host.
	Forward, Input bool
	// Locked reports that a process owns it, so that nobody else can change it.
	Locked bool
}

// Survey reads the tables of others at the hooks that [Ensure] opens, whether they need that or not. It changes nothing.
func Survey(c *nft.Conn) (all []Found, err error) {
	flags, err := c.TableFlags(0)
	if err != nil {
		return nil, err
	}
	for _, name := range sortedTables(flags) {
		if !foreign(name) || flags[name]&nft.Dormant != 0 {
			continue
		}
		t, err := readTable(c, &nft.Batch{}, name)
		if err != nil {
			return nil, err
		}
		if f, judges := t.survey(); judges {
			f.Locked = flags[name]&nft.Owned != 0
			all = append(all, f)
		}
	}
	return all, nil
}

// survey reports false for a table that judges no packets at those hooks.
func (t table) survey() (f Found, judges bool) {
	f.Table = t.Table
	foreigners := newChains(t.actual, t.uses)
	for name, chain := range t.actual {
		if program := programOf(t.Name, name); program != "" && !slices.Contains(f.Programs, program) {
			f.Programs = append(f.Programs, program)
		}
		if chain.Hook == nil || chain.Hook.Kind != "filter" {
			continue
		}
		_, closed := foreigners.closedAt(name, chain.Hook.Drop)
		switch chain.Hook.Number {
		case unix.NF_INET_FORWARD:
			f.Forward, judges = f.Forward || closed, true
		case unix.NF_INET_LOCAL_IN:
			f.Input, judges = f.Input || closed, true
		}
	}
	slices.Sort(f.Programs)
	return f, judges
}

// programOf is the program that has a chain or a table of that name; empty if that is nobody's in particular.
func programOf(table, chain string) string {
	switch {
	case table == "firewalld":
		return "firewalld"
	case strings.HasPrefix(chain, "DOCKER"), table == "docker-bridges":
		return "Docker"
	case strings.HasPrefix(chain, "ufw-"), strings.HasPrefix(chain, "ufw6-"):
		return "ufw"
	case strings.HasPrefix(chain, "LIBVIRT_"), table == "libvirt_network":
		return "libvirt"
	case strings.HasPrefix(chain, "KUBE-"):
		return "Kubernetes"
	}
	return ""
}
