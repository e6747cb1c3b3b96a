package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waylume/waylume/wgnode/kernel"
)

// The values of Verdict.Dataplane and Verdict.Driver.
const (
	kernelDataplane    = "kernel"
	userspaceDataplane = "userspace"
	moduleDriver       = "module"
	tunDriver          = "tun"
)

// Names of the features that the verdict is about (kernel.Features).
const (
	wireGuardModule = "WireGuard module"
	tunDevice       = "TUN"
)

// conclude turns the answers into the verdict; supported is what `waylumed up` decides by.
func (r *Report) conclude(supported error) {
	v := &r.Verdict
	v.Missing, v.Unsure, v.Changes = []string{}, []string{}, []Change{}
	if supported != nil {
		v.Dataplane, v.Reason = userspaceDataplane, strings.ReplaceAll(supported.Error(), "\n", "; ")
	} else {
		v.Dataplane, v.Driver = kernelDataplane, tunDriver
		if r.has(wireGuardModule) {
			v.Driver = moduleDriver
		}
	}
	anyDriver := r.has(wireGuardModule) || r.has(tunDevice)
	var better []Change
	for _, f := range r.Features {
		if f.Answer == kernel.There {
			continue
		}
		required := f.Need == kernel.NeedAlways || f.Need == kernel.NeedOneDriver && !anyDriver
		switch {
		case required && f.Answer == kernel.Absent:
			v.Missing = append(v.Missing, f.Name)
			gain := "required, to " + f.Purpose
			if f.Need == kernel.NeedOneDriver {
				gain = "one driver of the two is required; this one is to " + f.Purpose
			}
			v.Changes = append(v.Changes, Change{f.Name, gain, f.Requires})
		case required:
			v.Unsure = append(v.Unsure, f.Name)
		case f.Answer == kernel.Absent && (f.Name != tunDevice || v.Driver == tunDriver):
			better = append(better, Change{f.Name, "without it " + f.Without, f.Requires})
		}
	}
	for _, w := range r.Firewalls {
		if w.Locked && (w.DropsForwarded || w.DropsInput) {
			v.Changes = append(v.Changes, Change{
				"table " + w.Family + " " + w.Table, "without it packets of peers are dropped", unlock(w),
			})
		}
	}
	v.Changes = append(v.Changes, better...)
}

func unlock(w Firewall) string {
	if slices.Contains(w.Programs, "firewalld") {
		return fmt.Sprintf("firewall-cmd --zone=trusted --add-interface=%s, and firewall-cmd --add-port=PORT/udp for WireGuard's", kernel.DefaultInterface)
	}
	return fmt.Sprintf("have its owner accept what comes from and goes to %s, and WireGuard's UDP port", kernel.DefaultInterface)
}

// has reports that a feature is there.
func (r *Report) has(name string) bool {
	return slices.ContainsFunc(r.Features, func(f Feature) bool { return f.Name == name && f.Answer == kernel.There })
}

// tried reports that features could be tried, rather than read about.
func (r *Report) tried() bool {
	return slices.ContainsFunc(r.Features, func(f Feature) bool { return f.Source == kernel.SourceTried })
}

// sentence is the verdict in words.
func (r *Report) sentence() string {
	v := r.Verdict
	switch {
	case v.Dataplane == userspaceDataplane:
		return "This host gets the userspace dataplane: " + v.Reason
	case v.Driver == moduleDriver:
		return "This host gets the kernel dataplane, with the WireGuard module."
	}
	return "This host gets the kernel dataplane, with wireguard-go in the process, on a TUN."
}
