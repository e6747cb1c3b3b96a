package httpapi

import (
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func peerOf(p wgnode.Peer) api.Peer {
	return api.Peer{
		ID:              api.Key(p.PublicKey).ID(),
		PublicKey:       api.Key(p.PublicKey),
		HasPresharedKey: p.HasPresharedKey,
		Name:            p.Name,
		Addresses:       p.Addrs,
		Account:         p.Account,
		Labels:          p.Labels,
		SpeedLimit:      speedLimitOf(p.SpeedLimit),
		DataCap:         dataCapOf(p.DataCap),
		ExpiresAt:       p.ExpiresAt,
		GracePeriod:     api.Duration(p.GracePeriod),
		IdleTimeout:     api.Duration(p.IdleTimeout),

		Active:           p.Active(),
		Suspended:        p.Suspended,
		AccountSuspended: p.AccountSuspended,
		Expired:          p.Expired,
		CreatedAt:        p.CreatedAt,
	}
}

func accountOf(a wgnode.Account) api.Account {
	return api.Account{
		ID:         a.ID,
		Labels:     a.Labels,
		SpeedLimit: speedLimitOf(a.SpeedLimit),
		DataCap:    dataCapOf(a.DataCap),
		Suspended:  a.Suspended,
		Peers:      a.Peers,
		CreatedAt:  a.CreatedAt,
	}
}

// peerSpec is what a request asks for, as the node has it. The schema has seen to it that texts are among those that there are.
func peerSpec(s api.PeerSpec) wgnode.PeerSpec {
	return wgnode.PeerSpec{
		PublicKey:    wgtypes.Key(s.PublicKey),
		PresharedKey: wgtypes.Key(s.PresharedKey),
		Name:         s.Name,
		Addrs:        s.Addresses,
		Account:      s.Account,
		Labels:       s.Labels,
		SpeedLimit:   speedLimit(s.SpeedLimit),
		DataCap:      dataCap(s.DataCap),
		ExpiresAt:    s.ExpiresAt,
		GracePeriod:  time.Duration(s.GracePeriod),
		IdleTimeout:  time.Duration(s.IdleTimeout),
	}
}

func speedLimitOf(l shaping.Limit) api.SpeedLimit {
	return api.SpeedLimit{Download: api.Rate(l.Download), Upload: api.Rate(l.Upload)}
}

func speedLimit(l api.SpeedLimit) shaping.Limit {
	return shaping.Limit{Download: shaping.Rate(l.Download), Upload: shaping.Rate(l.Upload)}
}

// dataCapOf is nil for a cap that says nothing.
func dataCapOf(c quota.Cap) *api.DataCap {
	if c.Equal(quota.Cap{}) {
		return nil
	}
	of := &api.DataCap{
		Bytes:            api.Bytes(c.Bytes),
		Counted:          c.Counted.String(),
		AtEnd:            c.AtEnd.String(),
		ThrottleDownload: api.Rate(c.ThrottleDownload),
		ThrottleUpload:   api.Rate(c.ThrottleUpload),
		Thresholds:       c.Thresholds,
		Period: api.Period{
			Kind: c.Period.Kind.String(), TimeZone: c.Period.TimeZone, Day: c.Period.Day, Hour: c.Period.Hour,
			Window: api.Duration(c.Period.Window),
		},
	}
	if c.Period.Kind == quota.Weekly {
		of.Period.Weekday = strings.ToLower(c.Period.Weekday.String())
	}
	return of
}

func dataCap(c *api.DataCap) quota.Cap {
	if c == nil {
		return quota.Cap{}
	}
	weekday := time.Sunday
	for day := time.Sunday; day <= time.Saturday; day++ {
		if strings.EqualFold(day.String(), c.Period.Weekday) {
			weekday = day
		}
	}
	return quota.Cap{
		Bytes:            quota.Bytes(c.Bytes),
		Counted:          named(c.Counted, quota.CountBoth, quota.CountDownload, quota.CountUpload),
		AtEnd:            named(c.AtEnd, quota.Block, quota.Throttle),
		ThrottleDownload: uint64(c.ThrottleDownload),
		ThrottleUpload:   uint64(c.ThrottleUpload),
		Thresholds:       c.Thresholds,
		Period: quota.Period{
			Kind:     named(c.Period.Kind, quota.None, quota.Daily, quota.Weekly, quota.Monthly, quota.Rolling),
			TimeZone: c.Period.TimeZone, Weekday: weekday, Day: c.Period.Day, Hour: c.Period.Hour,
			Window: time.Duration(c.Period.Window),
		},
	}
}

// named is the value with a name, or the first.
func named[T interface{ String() string }](name string, values ...T) T {
	for _, v := range values {
		if v.String() == name {
			return v
		}
	}
	return values[0]
}

func usageOf(u wgnode.Usage) api.Usage {
	return api.Usage{
		Used: api.Bytes(u.Used), Limit: api.Bytes(u.Limit), Remaining: api.Bytes(u.Remaining), Depleted: u.Depleted,
		PeriodStart: u.PeriodStart, PeriodEnd: u.PeriodEnd,
		Download: api.Bytes(u.Counters.Download), Upload: api.Bytes(u.Counters.Upload),
	}
}

func qualityOf(q wgnode.PeerQuality) api.Quality {
	return api.Quality{
		State: q.State.String(), ReadAt: q.ReadAt, WatchedSince: q.WatchedSince, LastHandshake: q.LastHandshake, FormerKey: q.FormerKey,
		Endpoint: q.Endpoint, EndpointChanges: q.EndpointChanges, EndpointChangedAt: q.EndpointChangedAt,
		Download: api.Rate(q.Throughput.DownloadBPS), Upload: api.Rate(q.Throughput.UploadBPS),
		Window:     api.Duration(q.Throughput.Window),
		Handshakes: q.Handshakes.Attempts, HandshakesFailed: q.Handshakes.Failed,
	}
}
