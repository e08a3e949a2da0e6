// Package netlab is a network to test the daemon in: two hosts in Linux network
// namespaces of this machine, joined by internet lines that misbehave as told.
//
//	func TestFailover(t *testing.T) {
//		netlab.Require(t)
//		lab := netlab.New(t, netlab.Config{Lines: []netlab.Line{
//			{Up: 20e6, Down: 20e6, Delay: 10 * time.Millisecond},
//			{Up: 5e6, Down: 50e6, Delay: 40 * time.Millisecond, Loss: 0.01},
//		}})
//		bin := netlab.BuildDaemon(t)
//		lab.Server.Start(t, bin, "-c", serverConfig)
//		client := lab.Client.Start(t, bin, "-c", clientConfig)
//		client.WaitOutput(t, "established", 5*time.Second)
//		lab.Blackhole(0, true)
//		...
//	}
//
// # Topology
//
//	client host            wan                server host
//	w1 10.91.1.1/24 --- a1 bridge b1 --- v1 10.91.1.2/24
//	w2 10.91.2.1/24 --- a2 bridge b2 --- v2 10.91.2.2/24
//	...                                  lo 10.90.0.2/32
//
// Line K of the network, element K-1 of Config.Lines, is a subnet of its own. Each host
// routes by source address: what leaves from 10.91.K.1 leaves through line K, as with
// an ISP's line. The server's 10.90.0.2 is reached through every line. Without a source
// address the client's default route is line 1. The neighbour entries are permanent: a
// blackhole is silent, no line carries ARP, and IPv6 is off on the lines only, so that
// tunnels may use it.
//
// # Lines
//
// A frame is serialized at the line's rate behind a drop-tail queue, then held for the
// delay and the jitter, unless it is lost. A full packet of 1500 bytes counts 1538. All
// of it can be changed while the lab runs, with [Lab.SetLine]. The random draws depend
// only on the seed, the line, the direction and the index of the frame. The bridge runs
// in a process of its own, built without the race detector, so that it keeps time
// beside slow programs; DirectionStats say whether it did.
//
// # Cleaning up
//
// A lab ends with its test. If the test process dies first, by a time-out or a signal,
// the bridge process notices, kills what runs in the lab's namespaces and removes them.
// Any number of labs may exist at once.
//
// The lab needs root, /dev/net/tun and the go command, but no other programs, and works
// on Linux only; elsewhere the package is empty. Inspect a running lab from outside with
// "ip netns exec NAME", where Host.Name has the NAME.
package netlab
