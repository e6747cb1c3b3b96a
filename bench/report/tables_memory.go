package main

// ofUnbounded ends the units of what a node with a bound on memory does, of what one without does.
const ofUnbounded = "-of-unbounded"

// What a mebibyte is of a megabyte, and a nanosecond of a millisecond.
const (
	mebibyte = (1 << 20) / 1e6
	milli    = 1e-6
)

func memoryTables() []table {
	const mb, mbits = "MB", "Mbit/s"
	return []table{
		{
			title: "A node on a file with peers that are registered: resident memory, and the time to add them and to start with them",
			topic: topicRegistered, rows: []string{keyPeers, keyActive, keyLimit},
			columns: []column{
				{"MB", figure{unit: "MiB-VmRSS", scale: mebibyte}},
				{"its own", figure{unit: "MiB-RssAnon", scale: mebibyte}},
				{"of files", figure{unit: "MiB-RssFile", scale: mebibyte}},
				{"at start, at most", figure{unit: "MiB-peak", scale: mebibyte}},
				{"B/peer", figure{unit: "B/peer"}},
				{"us/added", figure{unit: "us/added"}},
				{"start s", figure{unit: "s/start"}},
			},
			note: "Active: of them so many have a session and have moved a packet. Limit: GOMEMLIMIT, under which nothing else is done to\nkeep " +
				"memory small; without one, what Go has free is given back before it is measured. Of files: the program's own, and\n" +
				"what of the node's file the system keeps in memory as long as nobody needs the room.",
		},
		{
			title: "Of that, what stays on the heap in the userspace dataplane for each peer with limits and a cap", topic: topicIdlePeer,
			rows: []string{keyPeers}, columns: []column{{"B/peer", figure{unit: "B/peer"}}},
		},
		{
			title: "From a peer's first message to the answer", topic: topicHandshake, rows: []string{keyOf},
			order:   map[string][]string{keyOf: {"stock", "warm", "cold"}},
			columns: []column{{"ms", figure{unit: "ns/op", scale: milli}}},
			note:    "warm: the peer is in a device of wireguard-go's already; cold: it is registered only.",
		},
		{
			title: "A node with busy peers and a bound on what is inside WireGuard, by turns with one that has none", topic: topicBusy,
			rows: []string{keyPeers},
			columns: []column{
				{"MB", figure{unit: mb}},
				{"of unbounded", figure{unit: mb + ofUnbounded}},
				{"up Mbit/s", figure{unit: mbits + "-up"}},
				{"of unbounded", figure{unit: "up" + ofUnbounded}},
				{"down Mbit/s", figure{unit: mbits + "-down"}},
				{"of unbounded", figure{unit: "down" + ofUnbounded}},
				{"CPU s/GB", figure{unit: "cpu-s/GB"}},
				{"of unbounded", figure{unit: "cpu" + ofUnbounded}},
			},
			note: "MB: resident memory at most.",
		},
	}
}

func memoryAims() (all []aim) {
	const kibibyte, most = 1024, 400 // bytes, MB
	all = []aim{
		{
			about: "userspace, memory of a registered idle peer", topic: topicIdlePeer, figure: figure{unit: "B/peer"},
			each: []string{keyPeers}, bound: atMost(kibibyte, "B"),
		},
		{
			about: "a node with 200,000 registered peers, resident", topic: topicRegistered, bound: below(most, "MB"),
			each:   []string{keyActive, keyLimit},
			figure: figure{unit: "MiB-VmRSS", scale: mebibyte, keys: keys{keyPeers: "200000"}},
		},
		{
			about: "a cold peer's first handshake, more than a warm one's", topic: topicHandshake, bound: below(10, "ms"),
			figure: figure{unit: "ns/op", scale: milli, keys: keys{keyOf: "cold"}, op: more, base: keys{keyOf: "warm"}},
		},
	}
	for _, way := range []string{"up", "down"} {
		all = append(all, aim{
			about: "throughput with bounded memory / without a bound, " + way, topic: topicBusy, each: []string{keyPeers}, bound: atLeast(0.9),
			figure: figure{unit: way + ofUnbounded},
		})
	}
	return all
}
