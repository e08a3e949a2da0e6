package mlvpn

import (
	"context"
	"time"
)

// maxJobs bounds the jobs that wait for the worker.
const maxJobs = 64

// offload has the worker run job, which must not touch what others own, and the sender
// what job returns: X25519 takes as long as hundreds of packets. It reports false if the
// worker has too much to do already. Before Run it does both at once.
func (s *sender) offload(job func() func(now time.Time)) bool {
	if s.jobs == nil {
		job()(time.Now())
		return true
	}
	select {
	case s.jobs <- job:
		return true
	default:
		return false
	}
}

// work is the worker goroutine.
func (s *sender) workOff(ctx context.Context, jobs <-chan func() func(now time.Time)) {
	for {
		select {
		case job := <-jobs:
			s.box.put(senderMsg{kind: msgCall, call: job()})
		case <-ctx.Done():
			return
		}
	}
}
