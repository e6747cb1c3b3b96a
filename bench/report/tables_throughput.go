package main

// onePeer is the path of a baseline, which knows the one peer that is busy.
func onePeer(path string) keys { return keys{keyPath: path, keyPeers: "1"} }

// ofPlain is the unit of what a peer with limits, a cap and rules gets, of what it gets without.
const ofPlain = "of-plain"

func throughputTables() []table {
	const mbits, kpps, lost, work, clientWork = "Mbit/s", "kpps", "loss-%", "cpu-ms/Gbit", "client-cpu-ms/Gbit"
	order := map[string][]string{keyPath: paths(), keyDirection: {"up", "down"}}
	direction := func(name string) []column {
		way := keys{keyDirection: name}
		return []column{
			{name, figure{unit: mbits, keys: way}},
			{"of stock", figure{unit: mbits, keys: way, op: ratio, base: onePeer("stock")}},
			{"of bare", figure{unit: mbits, keys: way, op: ratio, base: onePeer("bare")}},
			{"of plain", figure{unit: mbits, keys: way, op: ratio, base: keys{keyPath: "plain"}}},
			{"CPUs", figure{unit: "cpus", keys: way}},
		}
	}
	effort := func(name string) []column {
		way := keys{keyDirection: name}
		return []column{
			{name, figure{unit: work, keys: way}},
			{"of stock", figure{unit: work, keys: way, op: ratio, base: onePeer("stock")}},
			{"of bare", figure{unit: work, keys: way, op: ratio, base: onePeer("bare")}},
			{"the client", figure{unit: clientWork, keys: way}},
		}
	}
	overhead := func(name string) []column {
		way := keys{keyDirection: name}
		return []column{
			{name, figure{unit: mbits, keys: way}},
			{"of plain", figure{unit: ofPlain, keys: way}},
			{"work, of plain", figure{unit: "work-of-plain", keys: way}},
		}
	}
	processors := func(name string) []column {
		way := keys{keyDirection: name}
		return []column{
			{name, figure{unit: mbits, keys: way}},
			{"of one's", figure{unit: mbits, keys: way, op: ratio, base: keys{keyProcs: "1"}}},
			{"CPUs", figure{unit: "cpus", keys: way}},
			{"ms/Gbit", figure{unit: work, keys: way}},
			{"the client", figure{unit: clientWork, keys: way}},
		}
	}
	return []table{
		{
			title: "TCP through the userspace exit, Mbit/s of payload at the receiver", topic: topicThroughput,
			rows: []string{keyStreams, keyPeers, keyPath}, order: order,
			columns: append(direction("up"), direction("down")...),
			note: "bare: wireguard-go from TUN to TUN, no exit; stock: a network stack as wireguard-go's own example has it; plain: the exit without\n" +
				"limits, caps or rules; exit: with all of them, none of which is reached. Up is from the peer. Baselines know one peer. CPUs:\n" +
				"of the exit's process alone.",
		},
		{
			title: "What a Gbit of that takes of the exit's process, milliseconds of a processor, and of the client's", topic: topicThroughput,
			rows: []string{keyStreams, keyPeers, keyPath}, order: order,
			columns: append(effort("up"), effort("down")...),
			note:    "The server's is not counted. On two processors these three share them, so that a faster exit is less than as much faster.",
		},
		{
			title: "TCP through one node whose peer has limits, a cap and rules by turns with none of them", topic: topicOverhead,
			rows: []string{keyStreams, keyPeers}, columns: append(overhead("up"), overhead("down")...),
			note: "Of plain: with them, of the rate without. Work: what a Gbit takes of the exit's process.",
		},
		{
			title: "The userspace exit with one processor, and with two, Mbit/s", topic: topicProcessors,
			rows: []string{keyPath, keyStreams, keyProcs}, columns: append(processors("up"), processors("down")...),
		},
		{
			title: "Datagrams, thousands a second that arrive, and the part that does not", topic: topicDatagrams,
			rows: []string{keySize, keyDirection, keyPath}, order: order,
			columns: []column{
				{kpps, figure{unit: kpps}},
				{"of bare", figure{unit: kpps, op: ratio, base: keys{keyPath: "bare"}}},
				{"lost %", figure{unit: lost}},
			},
		},
		{
			title: "New TCP connections a second", topic: topicConnections,
			rows: []string{"at-once", keyPath}, order: order,
			columns: []column{
				{"conns/s", figure{unit: "conns/s"}},
				{"of stock", figure{unit: "conns/s", op: ratio, base: keys{keyPath: "stock"}}},
			},
		},
	}
}

func throughputAims() []aim {
	each := []string{keyStreams, keyPeers}
	of := func(about, direction string, base keys, least float64) aim {
		return aim{
			about: "exit / " + about + ", " + direction, topic: topicThroughput, each: each, bound: atLeast(least),
			figure: figure{unit: "Mbit/s", keys: keys{keyPath: "exit", keyDirection: direction}, op: ratio, base: base},
		}
	}
	all := []aim{
		of("stock", "up", onePeer("stock"), 2), of("stock", "down", onePeer("stock"), 2.5),
		of("bare", "up", onePeer("bare"), 0.85), of("bare", "down", onePeer("bare"), 0.6),
	}
	const most = 0.95 // of what the exit passes when it limits nobody
	for _, way := range []string{"up", "down"} {
		all = append(all, aim{
			about: "exit with limits, caps and rules / without, " + way, topic: topicOverhead, each: each, bound: atLeast(most),
			figure: figure{unit: ofPlain, keys: keys{keyDirection: way}},
		})
	}
	return all
}
