// Package audit keeps a log of every change: who asked for it, what it was, and what became of it. The log is only appended to,
// and each of its lines has a hash over itself and the one before, so that [Verify] finds what was edited, removed or reordered.
//
// A change is two lines: an intent, which is on the disk before the change begins, and a result, which is on the disk before it
// is answered. A change whose intent cannot be written is refused. A process that is killed between the two leaves an intent
// without a result: what became of it is unknown, and Verify says so; it is no damage.
//
//	log, err := audit.Open("/var/lib/waylume/audit.log", audit.Options{})
//	if err != nil {
//		return err
//	}
//	defer log.Close()
//	handler = log.Refusals(authenticate(log.Middleware(routes)))
//
// A route names what it changes with [AddSubject]. What is no request, a signal, a reload, a rotation of keys, is a
// [Log.Begin] and a [Change.End], or one [Log.Record] for what has happened already.
//
// # Life
//
// [Open] locks the directory against other processes, takes away what a kill cut off within the last line, and starts one
// goroutine, which rotates and deletes segments by their age; [Log.Close] joins it. Methods may be called from any goroutine;
// lines that wait for the disk at one time share one write and one fsync. No privilege is needed.
//
// # Files
//
// The directory (0700) has "lock", "head" and segments (0600), "audit-0000000001.jsonl" and so on. A segment is lines of JSON,
// the first of kind "segment". Each ends with
//
//	,"prev":"PREVIOUS","hash":"HASH"}
//
// where HASH, 64 lower-case hexadecimal digits, is the SHA-256 of the bytes of the line before `,"hash":`, or, with a key, their
// HMAC-SHA-256 (RFC 2104). PREVIOUS is the HASH of the line before, in whichever segment that is; that of the log's very first
// line is 64 zeros. Nothing is encoded anew to verify it: the bytes as they stand are what was hashed. "seq" counts all lines
// from 1. [Record] has the other names, which are not changed or removed under [Schema].
//
// # What can be found, and what cannot
//
// A byte that was changed, a line that was removed, added or moved, and a segment that is missing between others or at the
// beginning (what was deleted for its age is told in a line of its own) are found from the log alone. A log that was cut off at
// its end at the bounds of a line is whole in itself: that is found against the file "head", which has the last line's number
// and hash, and against a head that was noted elsewhere, out of reach of whoever writes to the disk: [Log.Head],
// [VerifyOptions].Head. "head" is not synced: after a power cut it may be older than the log, and what was cut off since is
// then not found by it.
//
// Without a key, whoever may write the files can write another log that is whole in itself, "head" included; only a head
// noted elsewhere finds that. With a key, only who has the key can; but who may write the files can still put an older copy of
// the log and of "head" in their place, or delete both: only a head noted elsewhere finds that. Whoever may read the memory
// of the process has the key.
package audit
