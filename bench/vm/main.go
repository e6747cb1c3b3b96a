// Command vm runs a program of benchmarks in a virtual machine, for go test:
//
//	go build -o bin/bench/vm ./bench/vm
//	CGO_ENABLED=0 go test -run '^$' -bench Latency/path=kernel -benchtime 1x -exec "$PWD/bin/bench/vm" ./bench
//
// The machine has a Linux kernel as distributions have it, with fq_codel, and a time of its own: its clock counts instructions, so
// that what else its host does changes nothing (see package vm). It has what the environment has of names that begin with BENCH_.
//
// With -plain its kernel has no fq_codel, and the kernel dataplane the queues that it makes do with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/waylume/waylume/internal/testutil/vm"
)

// exitFailed: there is no machine, or the program did not come to its end.
const exitFailed = 2

// withoutFqCodel keeps a kernel from what it has built in (admin-guide/kernel-parameters.txt).
const withoutFqCodel = "initcall_blacklist=fq_codel_module_init"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		code = 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "vm:", err)
		code = exitFailed
	}
	os.Exit(code)
}

// run runs the program that the arguments name in a machine, and returns the code that it exits with.
func run(ctx context.Context, args, env []string, output io.Writer) (int, error) {
	cfg, program, args, err := parse(args, env)
	if err != nil {
		return 0, err
	}
	release, err := vm.Release(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := io.WriteString(output, about(release, cfg)); err != nil {
		return 0, err
	}
	return vm.Run(ctx, cfg, output, program, args...)
}

// modules are what a node in the kernel wants, and what its clients and their links are made of.
func modules() []string {
	return []string{
		"wireguard", "tun", "veth", "ifb", "nf_conntrack", "nf_conntrack_netlink", "nf_tables", "nft_ct", "nft_quota", "nft_limit", "nft_log",
		"nft_hash", "nft_fib_inet", "nft_reject_inet", "nft_fwd_netdev", "nft_nat", "nft_masq", "nft_redir", "nft_chain_nat", "nft_objref",
		"sch_htb", "sch_tbf", "sch_ingress", "act_mirred",
	}
}

// parse reads a command line: flags, the program and its arguments.
func parse(args, env []string) (cfg vm.Config, program string, rest []string, err error) {
	f := flag.NewFlagSet("vm", flag.ContinueOnError)
	plain := f.Bool("plain", false, "a kernel without fq_codel")
	f.DurationVar(&cfg.Time, "time", 4*time.Hour, "how long the machine may run, by this one's clock")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: vm [flags] PROGRAM [ARGUMENT]...")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return vm.Config{}, "", nil, err
	}
	if f.NArg() == 0 {
		f.Usage()
		return vm.Config{}, "", nil, errors.New("no program")
	}
	cfg.OwnTime, cfg.Modules = true, modules()
	if *plain {
		cfg.KernelArgs = []string{withoutFqCodel}
	}
	for _, kv := range env {
		if strings.HasPrefix(kv, "BENCH_") {
			cfg.Env = append(cfg.Env, kv)
		}
	}
	return cfg, f.Arg(0), f.Args()[1:], nil
}

// about says to the report what the figures are of.
func about(release string, cfg vm.Config) string {
	queue := "with"
	if slices.Contains(cfg.KernelArgs, withoutFqCodel) {
		queue = "without"
	}
	return fmt.Sprintf("# system: Linux %s %s fq_codel in a virtual machine\n# processors: 1\n# clock: 1 ns for an instruction\n", release, queue)
}
