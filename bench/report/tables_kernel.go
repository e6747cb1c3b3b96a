package main

func kernelTables() []table {
	kernel, shell := keys{keyBy: "kernel"}, keys{keyBy: "shell"}
	of := func(tail string) (all []column) {
		for _, what := range []string{"add", "change", "remove"} {
			unit := what + tail + "-ms"
			all = append(all, column{what, figure{unit: unit, keys: kernel}}, column{"shell", figure{unit: unit, keys: shell}},
				column{"times", figure{unit: unit, keys: kernel, op: times, base: shell}})
		}
		return all
	}
	plain := keys{keyOf: "plain"}
	return []table{
		{
			title: "The kernel dataplane: one peer beside others, ms; the shell runs wg, tc and iptables-nft, and does less", topic: topicPeer,
			rows: []string{keyPeers}, columns: of(""),
			note: "The shell's is IPv4 only, has no caps and no isolation.",
		},
		{
			title: "The same, of 95 in 100 at most, ms", topic: topicPeer, rows: []string{keyPeers}, columns: of("-p95"),
		},
		{
			title: "The kernel dataplane with so many, ms", topic: topicPeer, where: kernel, rows: []string{keyPeers},
			columns: []column{
				{"cold load", figure{unit: "start-ms"}},
				{"each", figure{unit: "start-ms", per: keyPeers}},
				{"pool full", figure{unit: "settle-ms"}},
				{"no-op sync", figure{unit: "sync-ms"}},
				{"statistics", figure{unit: "stats-ms"}},
				{"in a row", figure{unit: "burst-ms"}},
				{"p95", figure{unit: "burst-p95-ms"}},
			},
			note: "Pool full: how long after the start free classes are made. In a row: 200 added one after the other, while that is done again.",
		},
		{
			title: "Forwarding of the smallest packets, of as many flows as there are peers at most, thousands a second on one processor",
			topic: topicForward, rows: []string{keyOf},
			order: map[string][]string{keyOf: {"plain", "queued", "tracked", "unlimited", "kernel", "shell"}},
			columns: []column{
				{"up", figure{unit: "up-kpps"}},
				{"of plain", figure{unit: "up-kpps", op: ratio, base: plain}},
				{"down", figure{unit: "down-kpps"}},
				{"of plain", figure{unit: "down-kpps", op: ratio, base: plain}},
			},
			note: "plain: routes alone; queued: with one HTB class for all; tracked: with connection tracking; unlimited: the dataplane's tables,\n" +
				"peers without a limit; kernel/N: N peers with limits and caps; shell/N: a u32 filter and an iptables rule for each and direction",
		},
	}
}

func kernelAims() []aim {
	all := []aim{{
		about: "add a peer beside 10,000 / beside 100", topic: topicPeer, bound: atMost(1.5, ""),
		figure: figure{unit: "add-ms", keys: keys{keyBy: "kernel", keyPeers: "10000"}, op: ratio, base: keys{keyPeers: "100"}},
	}}
	const least = 0.8
	for _, way := range []string{"up", "down"} {
		for _, base := range []string{"plain", "unlimited", "kernel/10"} {
			all = append(all, aim{
				about: "forwarding with 10,000 peers / " + base + ", " + way, topic: topicForward, bound: atLeast(least),
				figure: figure{unit: way + "-kpps", keys: keys{keyOf: "kernel/10000"}, op: ratio, base: keys{keyOf: base}},
			})
		}
	}
	return all
}
