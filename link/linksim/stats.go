package linksim

// Stats counts the datagrams of one direction. Once none is on its way,
// Sent + Duplicated = Delivered + Lost + QueueDropped + Swallowed + ReceiveDropped.
type Stats struct {
	// Sent counts the datagrams that Send or SendTo took, Bytes their payload.
	Sent, Bytes uint64
	// Delivered counts the datagrams handed to the receiving end, copies included,
	// DeliveredBytes their payload.
	Delivered, DeliveredBytes uint64
	// Lost counts the datagrams lost by Loss and in bursts.
	Lost uint64
	// QueueDropped counts the datagrams that found the queue full.
	QueueDropped uint64
	// Swallowed counts the datagrams sent while the direction was Down, or to an end
	// that was closed or absent.
	Swallowed uint64
	// ReceiveDropped counts the datagrams that arrived at a full receive queue.
	ReceiveDropped uint64
	// Duplicated counts the copies that the line has made.
	Duplicated uint64
}
