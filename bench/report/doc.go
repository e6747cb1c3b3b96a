// Command report turns what Go benchmarks write into tables, ratios and a verdict on each aim of the project's.
//
//	go test -v -run '^$' -bench . -benchtime 1x ./bench | go run ./bench/report -json figures.json
//	go run ./bench/report bin/bench/bench.txt
//
// It shows its input as it comes, and in the end the machine, the tables, each ratio against a baseline that was measured in the
// same run, and each aim with what it came to: reached, MISSED, or not measured. What no table has follows in a list.
//
// A benchmark's name is Topic/key=value/key=value, its figures are metrics: 812 Mbit/s. A metric of many things that one
// benchmark measures in turns names one after the other: "plain:up-kpps" is the unit up-kpps of what has the key "of" with the
// value plain beside the keys of the name, as words of a name have that are no pairs. A line "# round: 2" begins another round: a ratio is made of figures of one round, and
// what is shown is the median of the rounds. Without such lines the second figure of a name is of the second round.
//
// Which tables and aims there are is said in tables_*.go and aims.go. It needs no privilege.
package main
