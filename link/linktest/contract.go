package linktest

import "fmt"

// The sentences of the documentation of package link and of Traits that the cases test.
const (
	sIntact     = "It must not corrupt, truncate, merge or split them, nor invent any."
	sConcurrent = "Send and Receive may be called concurrently with each other and with Close."
	sKeep       = "Neither may modify the datagrams it was given to send, nor keep any slice once it returns."
	sTransmit   = "Send transmits pkts in order, each element as one datagram."
	sNoWait     = "It does not wait for the network: what cannot be handed on at once is refused."
	sCount      = "It returns the number of datagrams handed on and, when n < len(pkts), the reason why pkts[n] was not"
	sFull       = "ErrFull when the link may take it a little later"
	sTooLarge   = "ErrTooLarge when pkts[n] is larger than the path allows now"
	sSendClosed = "net.ErrClosed after Close"
	sReceive    = "Receive waits for at least one datagram and stores up to len(bufs) of them, datagram i in bufs[i] with its length in sizes[i]."
	sShort      = "A datagram longer than its buffer is dropped, never truncated."
	sRecvClosed = "After Close it returns an error matching net.ErrClosed, also when it was already waiting"
	sMTU        = "MTU returns the largest datagram, in bytes, that Send accepts now."
	sClose      = "Close ends the link and unblocks Send and Receive."
	sTwice      = "It may be called more than once."

	sAddr   = "It is comparable"
	sMapped = "IPv4 addresses are never in the IPv6-mapped form."
	sOrigin = "ReceiveFrom is Link.Receive, and stores the origin of datagram i in from[i]."
	sSendTo = "SendTo transmits pkts in order to one address, under the rules of Link.Send."
	sBound  = "LocalAddr returns the bound address."

	sLossless = "Lossless says that what Send has accepted arrives"
	sOrdered  = "Ordered says that datagrams arrive in the order they were sent in."
	sNoDup    = "NoDup says that a datagram arrives once at most."
	sVirtual  = "Virtual says that the links do no real I/O and wait on nothing but channels, sync.Cond and timers."
)

// A violation is a broken sentence of the contract and how it was broken.
type violation struct{ sentence, detail string }

func (v *violation) Error() string { return fmt.Sprintf("%q: %s", v.sentence, v.detail) }

func violated(sentence, format string, args ...any) error {
	return &violation{sentence, fmt.Sprintf(format, args...)}
}
