package main

// The topics, each a benchmark: Throughput is BenchmarkThroughput.
const (
	topicThroughput  = "Throughput"
	topicOverhead    = "Overhead"
	topicProcessors  = "Processors"
	topicDatagrams   = "Datagrams"
	topicConnections = "Connections"
	topicLatency     = "Latency"
	topicAccuracy    = "Accuracy"
	topicFairness    = "Fairness"
	topicQuota       = "Quota"
	topicRegistered  = "Registered"
	topicIdlePeer    = "RegisteredMemory"
	topicHandshake   = "Handshake"
	topicBusy        = "BusyMemory"
	topicControl     = "Control"
	topicPeer        = "Peer"
	topicForward     = "Forward"
)

// The keys of benchmarks' names that more than one place here knows.
const (
	keyPath      = "path"
	keyDirection = "direction"
	keyStreams   = "streams"
	keyPeers     = "peers"
	keyActive    = "active"
	keyProcs     = "procs"
	keyState     = "state"
	keyLimit     = "limit"
	keyFlow      = "flow"
	keyProtocol  = "protocol"
	keyFlows     = "flows"
	keySize      = "size"
	keyDataplane = "dataplane"
	keyBy        = "by"
	keyOf        = "of"
)

// paths are the ways that packets take, the baselines first.
func paths() []string {
	return []string{"bare", "stock", "plain", "exit", "userspace", "kernel"}
}

// tables are all there are, in the order of the report.
func tables() []table {
	return slicesOf(throughputTables(), latencyTables(), shapingTables(), memoryTables(), controlTables(), kernelTables())
}

func slicesOf(parts ...[]table) (all []table) {
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}
