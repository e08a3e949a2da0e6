//go:build linux

package netlab

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"
)

func TestScratch(t *testing.T) {
	Require(t)
	l := Line{Up: 50e6, Down: 50e6, Delay: 10 * time.Millisecond}
	lab := New(t, Config{Lines: []Line{l, l}})
	pid := lab.bridge.cmd.Process.Pid
	c0, _ := cpuTime(pid)
	t0 := time.Now()
	o, _ := exec.Command("sh", "-c", fmt.Sprintf("grep -E 'policy|prio' /proc/%d/task/*/sched; cat /proc/%d/task/*/stat; cat /proc/sys/kernel/sched_rt_*; nproc", pid, pid)).CombinedOutput()
	t.Log(string(o))
	var wg sync.WaitGroup
	for k := range 2 {
		for d := range 2 {
			x := Transfer{From: lab.Client, To: lab.Server, Addr: lab.ServerAddr(k), Source: lab.ClientAddr(k), Duration: 4 * time.Second}
			if d == 1 {
				x = Transfer{From: lab.Server, To: lab.Client, Addr: lab.ClientAddr(k), Source: lab.ServerAddr(k), Duration: 4 * time.Second}
			}
			wg.Go(func() {
				r, err := x.Run(context.Background())
				t.Log(k, d, r.Goodput, r.Steady(time.Second), r.LongestGap, r.Retransmits, err)
			})
		}
	}
	wg.Wait()
	c, _ := cpuTime(pid)
	t.Log("cpu", c-c0, time.Since(t0))
	for _, s := range lab.Stats() {
		t.Logf("%+v", s)
	}
}
