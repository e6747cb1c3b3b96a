package main

// allAims are what the project aims at, in the order of the report.
func allAims() (all []aim) {
	for _, part := range [][]aim{throughputAims(), latencyAims(), shapingAims(), memoryAims(), controlAims(), kernelAims()} {
		all = append(all, part...)
	}
	return all
}
