package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// meter is how the kernel meters one subject: two counters, a quota past which packets are dropped while a budget with
// quota.Block has something left, and a quota that reports the next value of note. It is a value: a change makes another one.
type meter struct {
	name   string // begins the names of its objects
	seed   quota.Counters
	budget quota.Budget
	// depleted: the budget is used up. With quota.Block nothing passes then, and the limit stays: a packet that was on its way past
	// the addresses that are blocked still meets it.
	depleted    bool
	limit       quotaObject
	watch       quotaObject
	generations int
}

// quotaObject is a quota of the kernel's; it has no name where there is none.
type quotaObject struct {
	name string
	// at is the value at which it is used up, and used what it had seen when it was made.
	at, used uint64
}

// Endings of the names of a meter's objects. A quota has a number behind.
const (
	endDown  = "_d"
	endUp    = "_u"
	endLimit = "_l"
	endWatch = "_w"
)

// peerName and accountName begin the names of objects. 128 bits of a key, or of a hash, do not meet by chance or by design.
func peerName(key wgtypes.Key) string { return "p" + hex.EncodeToString(key[:16]) }

func accountName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "a" + hex.EncodeToString(sum[:16])
}

// subjectOf parts the name of a quota into its subject's and what it is.
func subjectOf(object string) (name, end string, ok bool) {
	i := strings.LastIndexByte(object, '_')
	if i < 0 || i+2 > len(object) {
		return "", "", false
	}
	return object[:i], object[i : i+2], true
}

// with is the meter under another budget, when the counters are at now. Quotas that serve stay, and go on from what they have
// seen: no byte that passes meanwhile is forgotten.
func (m meter) with(b quota.Budget, now quota.Counters) meter {
	counted := now.Of(b.Counted)
	wasBlocked := m.blocked()
	cutOff := wasBlocked && !b.Roomier(m.budget)
	sameCounter := m.budget.Counted == b.Counted
	m.budget = b
	m.depleted = b.Limited && (cutOff || counted >= b.Limit)

	switch limit := m.limit; {
	case !b.Limited || b.AtEnd != quota.Block:
		m.limit = quotaObject{}
	case limit.name != "" && sameCounter && (m.depleted || !wasBlocked):
		m.limit.at = b.Limit
	default:
		m.limit = m.newQuota(endLimit, b.Limit, counted)
	}

	switch at := m.nextNote(counted); {
	case at == 0:
		m.watch = quotaObject{}
	case m.watch.name != "" && sameCounter:
		m.watch.at = at
	default:
		m.watch = m.newQuota(endWatch, at, counted)
	}
	return m
}

// afresh is the meter with its limit made anew from what was counted, for when the quota has seen what was not delivered.
func (m meter) afresh(now quota.Counters) meter {
	if m.limit.name != "" {
		m.limit = m.newQuota(endLimit, m.budget.Limit, now.Of(m.budget.Counted))
	}
	return m
}

// anew is the meter with both quotas made anew from what was counted.
func (m meter) anew(now quota.Counters) meter {
	m = m.afresh(now)
	if m.watch.name != "" {
		m.watch = m.newQuota(endWatch, m.watch.at, now.Of(m.budget.Counted))
	}
	return m
}

func (m *meter) newQuota(end string, at, used uint64) quotaObject {
	m.generations++
	return quotaObject{name: m.name + end + strconv.Itoa(m.generations), at: at, used: used}
}

// nextNote is the next value of the counter, beyond what it is, that somebody wants to hear of; 0 for none. The limit of a
// budget that blocks is reported by its own quota.
func (m *meter) nextNote(counted uint64) uint64 {
	b := m.budget
	if m.blocked() {
		return 0
	}
	var at uint64
	if b.Mark > counted {
		at = b.Mark
	}
	if b.Limited && b.AtEnd != quota.Block && b.Limit > counted && (at == 0 || b.Limit < at) {
		at = b.Limit
	}
	return at
}

// blocked reports that nothing may pass.
func (m *meter) blocked() bool { return m.depleted && m.budget.AtEnd == quota.Block }

// noteworthy reports whether going from an older meter to m, with the counters at now, is something to report at once: a
// mark or a limit that was passed already when it was set.
func (m *meter) noteworthy(old meter, now quota.Counters) bool {
	counted := now.Of(m.budget.Counted)
	marked := m.budget.Mark != 0 && m.budget.Mark <= counted && (old.budget.Mark != m.budget.Mark || old.budget.Counted != m.budget.Counted)
	return marked || m.depleted && (!old.depleted || m.budget.Limit != old.budget.Limit || m.budget.Counted != old.budget.Counted)
}

// tablesObjects are the names that the tables map addresses to.
func (m *meter) tablesObjects() rules.Objects {
	o := rules.Objects{CountDown: m.name + endDown, CountUp: m.name + endUp}
	if m.budget.Counted != quota.CountUpload {
		o.LimitDown, o.WatchDown = m.limit.name, m.watch.name
	}
	if m.budget.Counted != quota.CountDownload {
		o.LimitUp, o.WatchUp = m.limit.name, m.watch.name
	}
	return o
}

// objects adds the kernel's objects to a table's.
func (m *meter) objects(to map[string]nft.Object) {
	to[m.name+endDown] = nft.Object{Bytes: m.seed.Download}
	to[m.name+endUp] = nft.Object{Bytes: m.seed.Upload}
	for _, q := range []quotaObject{m.limit, m.watch} {
		if q.name != "" {
			at := min(q.at, maxQuota)
			// Nothing passes a quota that is used up, but the kernel refuses one that is more than that (nft_quota_do_init).
			to[q.name] = nft.Object{Quota: true, Bytes: at, Used: min(q.used, at), Over: true}
		}
	}
}

// maxQuota is the largest quota that nftables takes (nft_quota_do_init).
const maxQuota = 1<<63 - 1

// usedUpQuota makes a meter one whose quota was used up, the counters being at now. It reports false if the quota says nothing
// about it.
func (m *meter) usedUpQuota(object string, now quota.Counters) bool {
	switch object {
	case "":
		return false
	case m.limit.name:
		if m.depleted {
			return false
		}
		// What was refused for its size counts too: from the first packet that does not fit, nothing passes.
		m.depleted = true
		m.watch = quotaObject{}
		return true
	case m.watch.name:
		counted := max(now.Of(m.budget.Counted), m.watch.at)
		m.depleted = m.depleted || m.budget.Limited && m.budget.AtEnd != quota.Block && counted >= m.budget.Limit
		if at := m.nextNote(counted); at == 0 {
			m.watch = quotaObject{}
		} else {
			m.watch.at = at
		}
		return true
	}
	return false
}

// effective is the limit that holds: the throttle's, where it is lower and the budget is used up.
func effective(limit, throttle shaping.Limit, m *meter) shaping.Limit {
	if m.depleted && m.budget.AtEnd == quota.Throttle {
		limit.Download, limit.Upload = limit.Download.Lower(throttle.Download), limit.Upload.Lower(throttle.Upload)
	}
	return limit
}

// adopt takes over the quotas that an earlier dataplane left, if they are what the meter would make.
func (m meter) adopt(b quota.Budget, now quota.Counters, have map[string][]quotaLeft) meter {
	m = m.with(b, now)
	for _, left := range have[m.name] {
		m.generations = max(m.generations, left.generation)
	}
	// What passes between the reading of the counters and that of the quotas is no difference, nor what was refused.
	keep := func(q *quotaObject, end string) {
		if q.name == "" {
			return
		}
		for _, left := range have[m.name] {
			if left.end == end && left.object.Bytes == min(q.at, maxQuota) && left.object.Over && (m.blocked() ||
				left.object.Used+readingSlack >= q.used && left.object.Used <= q.used+readingSlack) {
				q.name = left.name
				return
			}
		}
		*q = m.newQuota(end, q.at, q.used)
	}
	keep(&m.limit, endLimit)
	keep(&m.watch, endWatch)
	return m
}

// readingSlack is how many bytes a quota may differ from the counters, because packets passed while both were read.
const readingSlack = 1 << 20

// quotaLeft is a quota found in the kernel.
type quotaLeft struct {
	name, end  string
	generation int
	object     nft.Object
}

// quotasLeft sorts the quotas of a table by subject.
func quotasLeft(objects map[string]nft.Object) map[string][]quotaLeft {
	left := make(map[string][]quotaLeft)
	for name, o := range objects {
		subject, end, ok := subjectOf(name)
		if !o.Quota || !ok {
			continue
		}
		generation, err := strconv.Atoi(name[len(subject)+len(end):])
		if err != nil {
			continue
		}
		left[subject] = append(left[subject], quotaLeft{name, end, generation, o})
	}
	return left
}
