// Package usagelog keeps what each peer and account has used over time, in files that are only appended to, and answers how
// much a subject used in an hour, a day, or any other span.
//
// A [Log] is written by one process: [Open] locks its directory, [Log.Append] adds the readings of all counters, and
// [Log.Usage] and [Log.Series] answer meanwhile. A [Reader] answers the same from another process. Neither starts a
// goroutine, looks at a clock or needs a privilege.
//
//	usage, err := usagelog.Open("/var/lib/waylume/usage", usagelog.Options{})
//	if err != nil {
//		return err
//	}
//	defer usage.Close()
//	// Once at the start, then every quarter of an hour:
//	err = usage.Append(ctx, time.Now(), readings)
//	// And to know what was used yesterday:
//	day, err := usage.Usage(ctx, midnight.AddDate(0, 0, -1), midnight, nil)
//
// # Counters, not differences
//
// A reading is an absolute counter: the bytes since its subject was added. What a subject used between two readings is the
// growth of its highest reading yet. So a reading that is missing makes the answer coarser, one that is repeated changes
// nothing, and no byte is ever counted twice. A counter that falls back, because a backup of the node's state was restored,
// counts again only once it has passed where it was. A subject carries the node's sequence number, which is never used
// again: a peer that was removed and added again is another subject. So is one that was given another key and keeps its
// number; its counters then begin anew, at zero, with a reading at that time ([Summary.Named] joins the two).
//
// # What is known
//
// Growth counts at the time of the reading that shows it. The usage of a span is that of the readings after its beginning,
// up to its end: those at the bounds themselves belong to what lies before. So spans that follow each other add up to the
// whole: exactly where nothing is damaged, and never to more. A span whose bounds are not times of readings really covers the time between the last readings at or
// before them, and the answer says so ([Span]).
//
// A subject with a sequence number above all that the log had seen is new: all that its first reading shows passed since the
// reading before. What any other subject had used before its first reading is not known, and does not count: not before the
// log's first Append, which a node therefore makes when it starts, and not before the oldest reading that is retained.
//
// # In the order of appending
//
// Who passes usage on, each byte once, asks with a [Position] instead of times: [Log.After] answers with a chunk of what was
// appended after it, and with the position of the next. Chunks that follow each other add up to the whole as spans do, but do
// not hang on clocks: readings that come with a time of yesterday are in the next chunk. A position holds across restarts.
// Where the log is not as it was when it was read up to there, nothing counts before all subjects were read anew.
//
// # Clocks
//
// Readings count in the order in which they were appended, whatever the clock did. When it is set back, growth since the
// last reading counts at the new, earlier time; usage is never negative, and an hour that came twice has the growth of both
// times. No segment is deleted because the clock was wrong on one day.
//
// # Files
//
// The directory (made with mode 0700) has a file "lock" and one segment (0600) for each UTC day, named after its place in
// the order and its day; a clock that is set over midnight begins another segment, and so does an Open that found damage. A
// segment begins with a base, all counters as they were, so that it can be read without those before it. Frames follow, one
// or a few per Append: each has a checksum, a time and the counters that have changed. A segment appears whole, by renaming;
// an Append is one write and one fsync.
//
// What a crash cut off at the end of the last segment was never acknowledged: Open takes it away and reports it. Where
// anything else is damaged, what precedes and what follows is read, and the answer reports the damage. The growth that
// damaged frames held counts with the next frames that can be read; a subject that lost its base counts again at the end of
// the day. What was never appended is never counted.
package usagelog
