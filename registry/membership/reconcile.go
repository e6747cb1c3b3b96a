package membership

import (
	"context"
	"log/slog"
	"time"

	"github.com/waylume/waylume/registry"
)

// take has the report under way be one that was taken.
func (u *usage) take() {
	u.Sequence++
	u.After, u.UpTo = u.UpTo, ""
}

// reconcile has the file agree with what the registry says at a registration, and returns what people should know of it.
func (f *file) reconcile(r registry.Registered) (note string) {
	u := &f.Usage
	switch ahead := r.UsageSequence - u.Sequence; {
	case f.Server != "" && f.Server != r.Server:
		// The registry was made anew, or the node has another name: neither releases nor reports have to do with those before.
		f.Released = 0
		u.Sequence = r.UsageSequence
		note = "node is another server of the fleet than it was; what was not reported yet is reported as that server's"
	case ahead == 0:
	case ahead == 1 && u.UpTo != "":
		u.take() // and the answer was lost
	case ahead > 0:
		// The file was lost, or is an older one. To report once more what was reported would bill people twice.
		u.Sequence, u.UpTo, u.Skip = r.UsageSequence, "", true
		note = "fleet has taken usage reports that the state file does not know of: it was lost or restored from a backup; " +
			"usage that is known up to now is not reported, as it may have been"
	default:
		// The registry was restored from a backup. What it had taken after that is not known any more by places.
		u.Sequence = r.UsageSequence
		note = "fleet does not know of usage reports that it had taken: it was restored from a backup; their usage is missing there, " +
			"and later usage is reported"
	}
	f.Server = r.Server
	return note
}

// skip passes over all usage that is known, and logs how much that is.
func (m *Member) skip(ctx context.Context) error {
	var from, to time.Time
	var download, upload int64
	for more := true; more; {
		chunk, err := m.usageAfter(ctx, m.store.known().Usage.After)
		if err != nil {
			return err
		}
		for _, u := range chunk.Usages {
			download += u.Download
			upload += u.Upload
		}
		if len(chunk.Usages) > 0 {
			if from.IsZero() {
				from = chunk.From
			}
			to = chunk.To
		}
		if more = chunk.More; !more {
			m.log(slog.LevelWarn, "passed over usage that may have been reported: at least the last of it was not",
				"from", from, "to", to, "download", download, "upload", upload)
		}
		if err := m.keep(func(f *file) { f.Usage.After, f.Usage.Skip = chunk.Next, more }); err != nil {
			return err
		}
	}
	return ctx.Err()
}
