package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/kernel/internal/sysctl"
)

// What a sysctl was before is kept in the kernel itself, as the name of an object in our table: it is there as long as the
// setting is, whatever becomes of the process, and a reboot ends both.
const savedPrefix = "sysctl:"

func savedObjects(saved []sysctl.Saved) map[string]nft.Object {
	objects := make(map[string]nft.Object, len(saved))
	for _, s := range saved {
		objects[savedPrefix+s.Name+":"+s.Before+":"+s.Value] = nft.Object{}
	}
	return objects
}

func savedFrom(objects map[string]nft.Object) (saved []sysctl.Saved) {
	for name := range objects {
		rest, ok := strings.CutPrefix(name, savedPrefix)
		if parts := strings.Split(rest, ":"); ok && len(parts) == 3 {
			saved = append(saved, sysctl.Saved{Setting: sysctl.Setting{Name: parts[0], Value: parts[2]}, Before: parts[1]})
		}
	}
	return saved
}

// planSysctls takes over what an earlier process, or another node, has noted, and notes what sysctls were before that are to be
// set: they are set when the note is in the kernel, lest a process that is killed between the two leave them so.
func (dp *Dataplane) planSysctls(actual *nft.Actual) error {
	if actual != nil {
		dp.noteSysctls(savedFrom(actual.Objects))
	}
	settings, err := dp.sysctlSettings()
	if err != nil {
		return err
	}
	planned, err := sysctl.New("").Plan(settings)
	dp.noteSysctls(planned)
	return err
}

// setSysctls lets the host forward packets.
func (dp *Dataplane) setSysctls(note func(...string)) error {
	settings, err := dp.sysctlSettings()
	if err != nil {
		return err
	}
	set, err := sysctl.New("").Set(settings)
	for _, s := range set {
		if s.Value != s.Before {
			note(fmt.Sprintf("set %s to %s", s.Name, s.Value))
		}
	}
	return err
}

func (dp *Dataplane) sysctlSettings() ([]sysctl.Setting, error) {
	var v4, v6 bool
	for _, p := range dp.fixed.Pool {
		v4, v6 = v4 || p.Addr().Is4(), v6 || p.Addr().Is6()
	}
	settings, err := sysctl.New("").Forwarding(v4, v6, dp.cfg.Interface, dp.ifbName())
	if err != nil {
		return nil, err
	}
	if dp.chosen == DriverModule {
		// The module turns this off for the whole host when its interface comes up (wg_open in drivers/net/wireguard/device.c);
		// done here, it is noted and can be put back.
		settings = append(settings, sysctl.Setting{Name: "net.ipv4.conf.all.send_redirects", Value: "0"})
	}
	return settings, nil
}

// noteSysctls remembers what was before; what was noted first stays.
func (dp *Dataplane) noteSysctls(saved []sysctl.Saved) {
	for _, s := range saved {
		if !slices.ContainsFunc(dp.sysctls, func(o sysctl.Saved) bool { return o.Name == s.Name }) {
			dp.sysctls = append(dp.sysctls, s)
		}
	}
	slices.SortFunc(dp.sysctls, func(a, b sysctl.Saved) int { return strings.Compare(a.Name, b.Name) })
}

// restoreSysctls puts back what was before; while another node needs it, that node gets the note.
func (dp *Dataplane) restoreSysctls() error {
	own, _ := rules.Tables(dp.cfg.Interface)
	// A node that ended may have left its notes here a moment ago.
	if objects, err := dp.nft.Objects(own); err != nil {
		return err
	} else if dp.policy != nil {
		dp.noteSysctls(savedFrom(objects))
	}
	if len(dp.sysctls) == 0 {
		return nil
	}
	tables, err := dp.nft.Tables(nft.Inet)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t != own && strings.HasPrefix(t.Name, rules.Prefix) {
			b := &nft.Batch{}
			for name, o := range savedObjects(dp.sysctls) {
				b.SetObject(t, name, o)
			}
			return dp.nft.Commit(b)
		}
	}
	return errors.Join(sysctl.New("").Restore(dp.sysctls))
}
