package main

func shapingTables() []table {
	order := map[string][]string{keyPath: paths(), keyDirection: {"down", "up"}, keyProtocol: {"tcp", "udp"}}
	return []table{
		{
			title: "What passes of a limit: by how much it differs, %", topic: topicAccuracy,
			rows: []string{keyPath, keyProtocol, keyFlows, keySize, keyDirection, keyLimit}, order: order,
			columns: []column{
				{"error %", figure{unit: "err-%"}},
				{"by the node", figure{unit: "node-err-%"}},
				{"Mbit/s", figure{unit: "Mbit/s"}},
				{"ramp %", figure{unit: "ramp-%"}},
				{"burst B", figure{unit: "burst-B"}},
				{"unlimited Mbit/s", figure{unit: "unlimited-Mbit/s"}},
			},
			note: "By the node: by its own counters. Ramp: what the first 200 ms passed, of what the limit has in that time; burst: the most that they\n" +
				"passed beyond it at any time. Unlimited: what the same load comes to without a limit, where that is less than the limit: the machine\n" +
				"carries no more, and there is no error to tell.",
		},
		{
			title: "How alike the busy peers of an account are served: Jain's index", topic: topicFairness,
			rows: []string{keyPath, keyLimit, keyPeers, keyDirection}, order: order,
			columns: []column{{"jain", figure{unit: "jain"}}, {"error %", figure{unit: "err-%"}}},
		},
		{
			title: "The end of a data cap: bytes past it at most, and the time from the last byte to the event", topic: topicQuota,
			rows: []string{keyPath, keyDirection}, order: order,
			columns: []column{
				{"over B", figure{unit: "over-B"}},
				{"by the node", figure{unit: "node-over-B"}},
				{"unused B", figure{unit: "unused-B"}},
				{"event p50 ms", figure{unit: "event-p50-ms"}},
				{"p99", figure{unit: "event-p99-ms"}},
				{"Mbit/s", figure{unit: "Mbit/s"}},
				{"caps", figure{unit: "crossings"}},
			},
		},
	}
}

// superPacket is the largest packet that a kernel merges and counts as one, in bytes: an IP packet's greatest length.
const superPacket = 65_535

func shapingAims() (all []aim) {
	const percent, soonest = 2, 10 // milliseconds
	past := map[string]float64{"userspace": 0, "kernel": superPacket}
	for _, path := range []string{"userspace", "kernel"} {
		of := keys{keyPath: path}
		all = append(all,
			aim{
				about: path + ", a rate beside its limit", topic: topicAccuracy, figure: figure{unit: "err-%", keys: of},
				each: []string{keyProtocol, keyFlows, keySize, keyDirection, keyLimit}, bound: within(percent, "%"),
			},
			aim{
				about: path + ", Jain's index of an account's peers", topic: topicFairness, figure: figure{unit: "jain", keys: of},
				each: []string{keyLimit, keyPeers, keyDirection}, bound: atLeast(0.99),
			},
			aim{
				about: path + ", bytes past a cap", topic: topicQuota, figure: figure{unit: "over-B", keys: of},
				each: []string{keyDirection}, bound: atMost(past[path], "B"),
			},
			aim{
				about: path + ", from the last byte to the event, p99", topic: topicQuota, figure: figure{unit: "event-p99-ms", keys: of},
				each: []string{keyDirection}, bound: below(soonest, "ms"),
			})
	}
	return all
}
