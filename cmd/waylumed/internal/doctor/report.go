package doctor

import "github.com/waylume/waylume/wgnode/kernel"

// Schema names the form of a Report as JSON. Fields may be added to it; none is renamed, removed or given another meaning
// without a new name here.
const Schema = "waylume.doctor/1"

// Report is what a host can do. All texts are for a person and may change; what a program may compare is said at the fields.
type Report struct {
	Schema   string    `json:"schema"`
	Host     Host      `json:"host"`
	Features []Feature `json:"features"`
	// FirewallsUnknown says why other firewalls could not be looked at; empty if they were.
	FirewallsUnknown string     `json:"firewalls_unknown,omitempty"`
	Firewalls        []Firewall `json:"firewalls"`
	// IPTablesLegacy reports tables of iptables-legacy, which cannot be looked into.
	IPTablesLegacy bool    `json:"iptables_legacy"`
	Verdict        Verdict `json:"verdict"`
}

// Host is who asks, and where.
type Host struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	// Kernel is the release of a Linux kernel.
	Kernel string `json:"kernel,omitempty"`
	// UserID is the effective user's; -1 where there is none.
	UserID int `json:"user_id"`
	// Capabilities are those in force of the ones that matter: "CAP_NET_ADMIN", "CAP_SYS_ADMIN".
	Capabilities []string `json:"capabilities"`
}

// Feature is one of kernel.Features.
type Feature struct {
	// Name stays.
	Name string `json:"name"`
	// Answer is "there", "absent" or "unknown"; Need "required", "one driver" or "better"; Source "tried", "asked" or "read".
	Answer kernel.Answer `json:"answer"`
	Need   kernel.Need   `json:"need"`
	Source kernel.Source `json:"source"`
	// Purpose is what it is used for, and Without what is lost without it.
	Purpose string `json:"purpose"`
	Without string `json:"without"`
	// Requires is what to do for it, and Reason why it is not there or not known; both empty if it is there.
	Requires string `json:"requires,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Firewall is one of kernel.Firewalls.
type Firewall struct {
	// Family is "inet", "ip" or "ip6".
	Family   string   `json:"family"`
	Table    string   `json:"table"`
	Programs []string `json:"programs"`
	// DropsForwarded and DropsInput report that packets are dropped by default; Locked, that nobody but the owner can open it.
	DropsForwarded bool `json:"drops_forwarded"`
	DropsInput     bool `json:"drops_input"`
	Locked         bool `json:"locked"`
}

// Verdict is which dataplane `waylumed up` takes here when it is not told which.
type Verdict struct {
	// Dataplane is "kernel" or "userspace".
	Dataplane string `json:"dataplane"`
	// Driver is "module" or "tun" for the kernel's, else empty.
	Driver string `json:"driver,omitempty"`
	// Reason is why it is not the kernel's.
	Reason string `json:"reason,omitempty"`
	// Missing and Unsure name the features that it requires and that are absent or unknown.
	Missing []string `json:"missing"`
	Unsure  []string `json:"unsure"`
	// Changes are what to change for a better one, in order.
	Changes []Change `json:"changes"`
}

// Change is one thing to change.
type Change struct {
	// Feature is the name of one, or of a firewall's table.
	Feature string `json:"feature"`
	// Gain is what it is good for, and Do how it is done.
	Gain string `json:"gain"`
	Do   string `json:"do"`
}
