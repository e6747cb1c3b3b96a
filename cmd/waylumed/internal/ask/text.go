package ask

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// Called is a peer's name, or its key's beginning.
func Called(p api.Peer) string { return cmp.Or(Clean(p.Name), p.PublicKey.String()[:8]) }

// rateText is a speed limit: "20 Mbit/s".
func rateText(r api.Rate) string {
	if r == 0 {
		return "unlimited"
	}
	text := shaping.Rate(r).String()
	unit := strings.IndexFunc(text, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
	prefix := strings.TrimSuffix(text[unit:], "bit")
	if prefix != "k" {
		prefix = strings.ToUpper(prefix)
	}
	return text[:unit] + " " + prefix + "bit/s"
}

// Limit is a speed limit in both directions.
func Limit(l api.SpeedLimit) string {
	switch {
	case l == (api.SpeedLimit{}):
		return "none"
	case l.Download == l.Upload:
		return rateText(l.Download)
	}
	return "↓ " + rateText(l.Download) + " ↑ " + rateText(l.Upload)
}

// bytesText is an amount that a person has chosen: "5 GiB".
func bytesText(b api.Bytes) string {
	text := quota.Bytes(b).String()
	unit := strings.IndexFunc(text, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
	if unit < 0 {
		return text + " B"
	}
	return text[:unit] + " " + text[unit:]
}

// amountText is an amount as it has come to be: "1.3 GiB".
func amountText(b api.Bytes) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	x, unit := float64(b), 0
	for x >= 1024 && unit < len(units)-1 {
		x, unit = x/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", b)
	}
	return fmt.Sprintf("%.1f %s", x, units[unit])
}

// Cap is a data cap in words.
func Cap(c *api.DataCap) string {
	if c == nil {
		return "none"
	}
	text := bytesText(c.Bytes)
	if c.Bytes == 0 {
		text = "no limit"
	}
	switch c.Period.Kind {
	case "", "none":
	case "rolling":
		text += " in " + words.InWords(time.Duration(c.Period.Window))
	default:
		text += " " + c.Period.Kind
	}
	if c.Counted != "" && c.Counted != "both" {
		text += ", " + c.Counted
	}
	if c.AtEnd == "throttle" {
		text += ", then " + Limit(api.SpeedLimit{Download: c.ThrottleDownload, Upload: c.ThrottleUpload})
	}
	return text
}

// State says whether a peer can connect, and if not why.
func State(p api.Peer) string {
	var why []string
	if p.Suspended {
		why = append(why, "suspended")
	}
	if p.AccountSuspended {
		why = append(why, "account suspended")
	}
	if p.Expired {
		why = append(why, "expired")
	}
	if len(why) == 0 {
		return "active"
	}
	return strings.Join(why, ", ")
}

// timeText is a time in the zone of whoever reads it.
func timeText(at time.Time, never string) string {
	if at.IsZero() {
		return never
	}
	return at.Local().Format("2006-01-02 15:04:05")
}

func addressText(addrs []netip.Addr, between string) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, between)
}

// usedText is what was used of a cap.
func usedText(u api.Usage) string {
	if u.Limit == 0 {
		return amountText(u.Used)
	}
	text := fmt.Sprintf("%s of %s, %.0f %%", amountText(u.Used), bytesText(u.Limit), 100*float64(u.Used)/float64(u.Limit))
	if u.Depleted {
		text += ", used up"
	}
	return text
}

// speedText is a speed as it was measured.
func speedText(r api.Rate) string {
	switch {
	case r < 1e6:
		return fmt.Sprintf("%.1f kbit/s", float64(r)/1e3)
	case r < 1e9:
		return fmt.Sprintf("%.1f Mbit/s", float64(r)/1e6)
	}
	return fmt.Sprintf("%.1f Gbit/s", float64(r)/1e9)
}

// Expiry is when a peer ends.
func Expiry(p api.Peer) string {
	if p.ExpiresAt.IsZero() {
		return "does not expire"
	}
	text := "expires at " + timeText(p.ExpiresAt, "")
	if p.GracePeriod > 0 {
		text += ", and is kept for " + words.InWords(time.Duration(p.GracePeriod)) + " after that"
	}
	return text
}
