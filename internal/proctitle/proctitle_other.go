//go:build !linux

package proctitle

func prepare()   {}
func set(string) {}
