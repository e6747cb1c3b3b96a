package kernel

import (
	"errors"
	"os"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// optional makes an object that is not there no error.
func optional(o nft.Object, err error) (nft.Object, bool, error) {
	if errors.Is(err, os.ErrNotExist) {
		return nft.Object{}, false, nil
	}
	return o, err == nil, err
}

// readCounters reads the two counters of a meter.
func readCounters(conn *nft.Conn, t nft.Table, name string) (c quota.Counters, ok bool, err error) {
	down, ok, err := optional(conn.Object(t, name+endDown, false))
	if !ok {
		return quota.Counters{}, false, err
	}
	up, ok, err := optional(conn.Object(t, name+endUp, false))
	return quota.Counters{Download: down.Bytes, Upload: up.Bytes}, ok, err
}

// counters reads a meter's counters; if somebody took them away, they are those that were last read.
func (dp *Dataplane) counters(name string) (quota.Counters, error) {
	inet, _ := rules.Tables(dp.cfg.Interface)
	c, ok, err := readCounters(dp.nft, inet, name)
	if err != nil || ok {
		if ok {
			dp.see(name, c)
		}
		return c, err
	}
	return dp.lastSeen(name, quota.Counters{}), nil
}

// see remembers counters that were read, for the case that someone takes them away.
func (dp *Dataplane) see(name string, c quota.Counters) {
	dp.mu.Lock()
	defer dp.mu.Unlock()
	if before := dp.seen[name]; c.Download < before.Download || c.Upload < before.Upload {
		dp.setBack[name] = true
	}
	dp.seen[name] = c
}

// wasSetBack reports whether somebody has set counters back, so that quotas have seen more than they say.
func (dp *Dataplane) wasSetBack(name string) bool {
	dp.mu.RLock()
	defer dp.mu.RUnlock()
	return dp.setBack[name]
}

// forget ends what was noted of a meter whose quotas were made anew; of one that is gone, all. The caller holds mu.
func (dp *Dataplane) forget(name string, gone bool) {
	delete(dp.setBack, name)
	if gone {
		delete(dp.seen, name)
	}
}

// lastSeen are the counters of a meter that were last read, or the ones given, which are older.
func (dp *Dataplane) lastSeen(name string, seed quota.Counters) quota.Counters {
	dp.mu.RLock()
	defer dp.mu.RUnlock()
	c := dp.seen[name]
	return quota.Counters{Download: max(c.Download, seed.Download), Upload: max(c.Upload, seed.Upload)}
}
