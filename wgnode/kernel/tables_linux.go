package kernel

import (
	"context"
	"errors"
	"maps"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// tablesAsLeft reports that nobody has changed a table since this dataplane brought and left its own as they should be: then
// tens of thousands of elements need not be read to know it. Sysctls are set, unless something of them has to be noted in the
// tables first.
func (dp *Dataplane) tablesAsLeft(note func(...string)) (bool, error) {
	unchanged, err := dp.nft.Unchanged()
	if err != nil || !unchanged {
		return false, err
	}
	noted := len(dp.sysctls)
	if err := dp.planSysctls(nil); err != nil || len(dp.sysctls) != noted {
		return false, err
	}
	return true, dp.setSysctls(note)
}

// bringTables makes records of all that is wanted, and classes and tables hold just that.
func (dp *Dataplane) bringTables(ctx context.Context, want wgnode.State, policy *rules.Policy, adopting bool, note func(...string)) (
	repairs []wgnode.Repair, err error,
) {
	generation, err := dp.nft.Generation()
	if err != nil {
		return nil, err
	}
	inet, netdev := rules.Tables(dp.cfg.Interface)
	actual := make(map[nft.Table]*nft.Actual, 2)
	for _, t := range []nft.Table{inet, netdev} {
		if actual[t], err = dp.nft.Read(t); err != nil {
			return nil, err
		}
	}
	counted, anew := actual[inet], dp.life == isNew && outdated(actual[inet], want)
	if anew { // what class an address has still holds
		counted = &nft.Actual{Sets: counted.Sets, Chains: counted.Chains, Elements: counted.Elements}
	}
	next, claims, err := dp.bringRecords(ctx, want, counted, adopting)
	if err != nil {
		return nil, errors.Join(err, claims.rollback(context.WithoutCancel(ctx)))
	}
	done := false
	defer func() {
		if !done {
			err = errors.Join(err, claims.rollback(context.WithoutCancel(ctx)))
		}
	}()
	mended, err := dp.syncClasses(ctx)
	if err != nil {
		return nil, err
	}
	note(mended...)
	if err := dp.planSysctls(actual[inet]); err != nil {
		return nil, err
	}
	wanted := dp.want(policy, next)
	b := &nft.Batch{}
	var notes []nft.Note
	for _, t := range []nft.Table{inet, netdev} {
		if anew && actual[t] != nil { // in the transaction that makes it again
			b.DeleteTable(t)
			actual[t] = nil
		}
		found, err := nft.Diff(b, t, wanted[t], actual[t])
		if err != nil {
			return nil, err
		}
		notes = append(notes, found...)
	}
	dp.nft.Trust(generation)
	if err := dp.commit(ctx, b); err != nil {
		return nil, err
	}
	done = true
	if err := claims.settle(); err != nil {
		return nil, err
	}
	dp.mu.Lock()
	dp.records, dp.policy, dp.node = next, policy, want.SpeedLimit
	maps.DeleteFunc(dp.seen, func(name string, _ quota.Counters) bool {
		_, ok := next.subjects[name]
		return !ok
	})
	dp.mu.Unlock()
	return attribute(notes, next), dp.setSysctls(note)
}
