//go:build !linux

package fib

// Way returns how a socket gets its packets to table.
func (t *Tables) Way(table int) Way { return Way{Table: table} }

func (t *Tables) lead(int) error { return nil }
func (t *Tables) clean() error   { return nil }
