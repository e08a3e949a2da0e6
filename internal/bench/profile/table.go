package profile

import (
	"fmt"
	"strings"
)

// Groups of the table.
const (
	GroupDesign = "design" // the project's own targets
	GroupMqvpn  = "mqvpn"  // the profiles that mqvpn publishes its figures for
	GroupUsers  = "users"  // made from what users of bonding report
)

type row struct {
	group, name, lines string
	want               Want
}

// rows is the table's source. The profiles of mqvpn have a prefix, because some have
// the name of another one here; its fixed delays are one way, as there, and its jitter,
// of normal distribution there, is uniform here and keeps the order of packets.
func rows() []row {
	return []row{
		{GroupDesign, "equal", "2 × 50, 10", Want{0.97, 0.97}},
		{GroupDesign, "adsl2", "2 × 20/1, 15", Want{0.94, 0.94}},
		{GroupDesign, "rate", "50, 10 + 12, 10", Want{0.95, 0.95}},
		{GroupDesign, "rtt", "50, 10 + 50, 60", Want{0.93, 0.85}},
		{GroupDesign, "fibre_lte", "100, 4 + 30, 20 ±8, 0.5 %", Want{0.90, 0.90}},
		{GroupDesign, "lte_starlink", "40, 17 ±8 + 100, 25 ±25, 1 %", Want{0.80, 0.80}},
		{GroupDesign, "lossy", "2 × 50, 10, 2 %", Want{0.88, 0.88}},
		{GroupDesign, "congested", "20, 25 ±20, 2 % + 15, 30 ±25, 2 %", Want{0.70, 0.70}},
		{GroupDesign, "three", "30/10, 12 + 12/3, 45 ±8 + 8/2, 90, 0.5 %", Want{0.85, 0.85}},

		{GroupMqvpn, "mq_baseline", "2 × 50, 20", Want{}},
		{GroupMqvpn, "mq_loss_05", "2 × 50, 20, 0.5 %", Want{}},
		{GroupMqvpn, "mq_loss_2", "2 × 50, 20, 2 %", Want{}},
		{GroupMqvpn, "mq_rtt_40", "50, 20 + 50, 40", Want{}},
		{GroupMqvpn, "mq_rtt_70", "50, 20 + 50, 70", Want{}},
		{GroupMqvpn, "mq_rtt_120", "50, 20 + 50, 120", Want{}},
		{GroupMqvpn, "mq_rtt_320", "50, 20 + 50, 320", Want{}},
		{GroupMqvpn, "mq_jit_5", "2 × 50, 20 ±5", Want{}},
		{GroupMqvpn, "mq_jit_20", "2 × 50, 20 ±20", Want{}},
		{GroupMqvpn, "mq_bw_4to1", "50, 20 + 12, 20", Want{}},
		{GroupMqvpn, "mq_bw_10to1", "100, 20 + 10, 20", Want{}},
		{GroupMqvpn, "mq_dual_lte", "40, 30 ±5, 0.5 % + 25, 45 ±8, 0.5 %", Want{}},
		{GroupMqvpn, "mq_fiber_lte", "300, 8 + 30, 40 ±8, 0.5 %", Want{}},
		{GroupMqvpn, "mq_lte_starlink", "40, 35 ±8 + 100, 50 ±25, 1 %", Want{}},
		{GroupMqvpn, "mq_lte_geo", "40, 35 + 20, 320 ±20, 0.5 %", Want{}},
		{GroupMqvpn, "mq_congested", "20, 50 ±20, 2 % + 15, 60 ±25, 2 %", Want{}},

		{GroupUsers, "adsl2x_eq", "2 × 8/0.8, 18, q300", Want{}},
		{GroupUsers, "adsl2x_uneq", "2/0.5, 25 + 3/0.8, 18", Want{}},
		{GroupUsers, "vdsl_4g", "25/6, 10, q150 + 15/10, 30 ±10, 0.3 %, walk 3-25 every 1s", Want{}},
		{GroupUsers, "slow_vdsl_fast_4g", "12/1, 12 + 130/40, 25 ±10", Want{}},
		{GroupUsers, "capped", "12/1, 12 + 130/40, 25 ±10, at 8s 1 q2000", Want{}},
		{GroupUsers, "docsis_vdsl", "200/25, 8 + 100/40, 10", Want{}},
		{GroupUsers, "docsis500_vdsl50", "500/20, 8 + 50/10, 13", Want{}},
		{GroupUsers, "gig_5g", "900/50, 8 + 100/80, 18 ±8", Want{}},
		{GroupUsers, "starlink_lte", "150/20, 25 ±8, 0.5 %, stall 50-200 every 15s 30 % + 40/15, 30 ±10", Want{}},
		{GroupUsers, "starlink_2x5g", "150/20, 25 ±8, 0.5 %, stall 50-200 every 15s 30 % + 2 × 200/30, 22 ±8", Want{}},
		{GroupUsers, "3x4g_vehicle", "20/8, 30, 1 %, walk 0.5-40 every 1s, delay 20-75 every 1s, out 7s for 3s every 40s" +
			" + 15/5, 30, 2 %, walk 0.5-40 every 1s, delay 20-75 every 1s, out 15s for 5s every 45s, stall 200-900 every 10s" +
			" + 25/10, 30, 0.5 %, walk 0.5-40 every 1s, delay 20-75 every 1s, out 25s for 2s every 50s", Want{}},
		{GroupUsers, "fibre_lte_backup", "300, 4 + 30/10, 40 ±10", Want{}},
		{GroupUsers, "adsl_geo", "8/1, 20 + 20/5, 320 ±20", Want{}},
		{GroupUsers, "lossy_one", "20, 20 + 20, 20, 30 % up + 20, 20", Want{}},
		{GroupUsers, "peru", "20/5, 100, delay 60-200 every 1s + 20/5, 400, q3000, delay 200-1000 every 1s", Want{}},
		{GroupUsers, "flap", "10, 40, out 10s for 10s every 60s + 4, 40", Want{}},
		{GroupUsers, "mtu_mix", "20, 10 + 20, 10, mtu 1492 + 20, 10, mtu 1400 + 20, 10, mtu 1280", Want{}},
		{GroupUsers, "many", "4 × 10/2, 10 + 4 × 10/2, 20 + 4 × 10/2, 30 + 4 × 10/2, 40", Want{}},
	}
}

// Table returns all profiles that have a name.
func Table() ([]Profile, error) {
	var all []Profile
	for _, r := range rows() {
		p, err := Parse(r.name + ": " + r.lines)
		if err != nil {
			return nil, fmt.Errorf("profile %s: %w", r.name, err)
		}
		p.Group, p.Want = r.group, r.want
		all = append(all, p)
	}
	return all, nil
}

// Select returns the profiles that args ask for, each the name of one, of a group, "all",
// or a profile in the notation of [Parse].
func Select(args []string) ([]Profile, error) {
	table, err := Table()
	if err != nil {
		return nil, err
	}
	var chosen []Profile
	for _, arg := range args {
		n := len(chosen)
		for _, p := range table {
			if arg == p.Name || arg == p.Group || arg == "all" {
				chosen = append(chosen, p)
			}
		}
		if len(chosen) > n {
			continue
		}
		if !strings.Contains(arg, ",") {
			return nil, fmt.Errorf("no profile or group %q: -list shows them all", arg)
		}
		p, err := Parse(arg)
		if err != nil {
			return nil, fmt.Errorf("profile %q: %w", arg, err)
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}
