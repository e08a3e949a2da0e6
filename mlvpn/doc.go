// Package mlvpn bonds many links into one encrypted tunnel.
//
// A [Client] glues a tun.Device to any number of links that lead to one server; a
// [Server] serves many clients over its sockets and listeners. What a client and a
// server have established is a [Session]. It lives through reconnects, lost lines and
// changed addresses, and carries packets as long as one link works.
//
//	client, err := mlvpn.NewClient(mlvpn.ClientConfig{
//		Config: mlvpn.Config{Device: device, Key: key},
//		Server: serverKey,
//	})
//	...
//	dsl, err := link.DialUDP(link.UDPConfig{Remote: server, Interface: "ppp0"})
//	...
//	client.AddLink(dsl, mlvpn.LinkConfig{Name: "dsl", Bandwidth: 2_500_000})
//	err = client.Run(ctx)
//
// # Goroutines
//
// Run starts every goroutine and returns when all have ended. One, the sender, owns
// everything that decides and sends: sessions, handshakes, timers, path states,
// queues, the scheduler and the sealers. Another, the receiver, owns the openers and
// replay windows, the reorder buffers and the device's write side. A reader per
// device, link and socket only waits for input and hands whole batches over; a
// notifier calls OnEvent, and a worker computes handshakes. Sessions have no goroutine, timer or socket of their own.
//
// # Limitations
//
// This version schedules by configured bandwidth and learns no rate. The package configures nothing in the host: addresses,
// routes, MTU and privileges belong to the program that uses it.
package mlvpn
