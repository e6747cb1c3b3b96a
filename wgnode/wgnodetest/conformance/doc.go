// Package conformance says what a dataplane must do, as tests that any dataplane can be handed to, in the manner of
// testing/fstest. One that passes holds what package wgnode promises to embedders: speeds, caps and isolation, whatever
// changes while packets move.
//
//	func TestConformance(t *testing.T) {
//		conformance.TestDataplane(t, conformance.Harness{Rig: func(t *testing.T) conformance.Rig { return newRig(t) }})
//	}
//
// # The rig
//
// The suite knows nothing of the dataplane. A [Rig], which the dataplane's author writes, puts a world around it: it makes
// dataplanes, connects the devices of peers to them, and listens where peers' packets arrive. What only some rigs can do is
// in interfaces of one method ([EchoRig], [HostRig], [UnreachableRig], [WatchedRig], [DisturbableRig],
// [ObstructableRig]); what a rig lacks is left out,
// and the output says so. The clients and their network stack are the suite's own: it counts inner IP bytes at their TUN
// device, where no dataplane can embellish them, and sends packets that no stack would.
//
// # What is asserted
//
//   - Speed: what is delivered is the limit, 3 % more or less, for TCP and UDP, up and down, in both families, for a peer,
//     an account and the node, and right after a change; accounts are shared fairly; nothing stalls; neighbours notice
//     nothing.
//   - Caps: not a byte past the cap, whoever shares it and whatever was under way; what was delivered is what was counted.
//     A datagram more than fits is not delivered, and nothing after it.
//   - Isolation: everything that the default policy closes, from each side and in both families; rules that open and
//     close, from the next packet on; spoofed sources.
//   - Changes: whole or not at all, twice as good as once; peers come and go without their neighbours losing a datagram.
//   - Life: every order of Start and Close, and nothing left of any; counters and caps over a restart; peers that are
//     suspended, resumed, rekeyed and moved; another key of the node's, with which nothing of the former one's goes on, or which
//     is served beside it for a while, where the dataplane is a [wgnode.KeyChanger], and does not say that it serves one only.
//   - Hostile packets: dropped, counted, and without effect.
//
// What a dataplane cannot help, because a kernel below it counts and drops packets in its own way, its harness says with
// [Traits]. Each names the assertions that it changes, and changes no others.
//
// # Time
//
// Rates are measured by the wall clock, on a machine that may have other things to do. That a limit is not exceeded is
// asserted strictly, as no machine can be too slow for it. That it is reached is asserted over the best of several windows;
// where it is not, the suite looks for who is to blame, and only says so when it was the machine: timers fired late for
// more than a tenth of the time, or, under the race detector or in an emulated machine, the flow is as slow without the
// limit. Whoever relies on the lower bound at 100 Mbit/s runs the suite without the race detector on an idle machine.
//
// The suite needs no privilege; a rig may.
package conformance
