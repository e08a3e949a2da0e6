package proctitle

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageSize is room enough for a title.
const pageSize = 4096

// area is the memory that /proc/self/cmdline shows, nil before Prepare and if it cannot be
// had.
var area []byte

func prepare() {
	argv := original()
	for i, arg := range os.Args {
		os.Args[i] = strings.Clone(arg)
	}
	if area = own(); area == nil {
		area = argv
	}
}

func set(title string) {
	if len(area) == 0 {
		return
	}
	n := copy(area[:len(area)-1], title)
	clear(area[n:])
}

// own moves the command line to a page of its own, if the process may.
func own() []byte {
	mem, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil
	}
	if start := uintptr(unsafe.Pointer(&mem[0])); move(start, start+pageSize) {
		return mem
	}
	unix.Munmap(mem)
	return nil
}

// move tells the kernel where the command line is. Its start must never be behind its
// end.
func move(start, end uintptr) bool {
	first, from, then, to := unix.PR_SET_MM_ARG_END, end, unix.PR_SET_MM_ARG_START, start
	if was, _, ok := bounds(); ok && end < was {
		first, from, then, to = then, to, first, from
	}
	return unix.Prctl(unix.PR_SET_MM, uintptr(first), from, 0, 0) == nil &&
		unix.Prctl(unix.PR_SET_MM, uintptr(then), to, 0, 0) == nil
}

// original is the memory of the command line, where the system has put it: the arguments
// one after the other, each with a zero byte at its end.
func original() []byte {
	if len(os.Args) == 0 || os.Args[0] == "" {
		return nil
	}
	start := unsafe.StringData(os.Args[0])
	size := 0
	for _, arg := range os.Args {
		if arg == "" || unsafe.StringData(arg) != (*byte)(unsafe.Add(unsafe.Pointer(start), size)) {
			break // not the system's any more, or hard to tell
		}
		size += len(arg) + 1
	}
	if size == 0 || !shown(os.Args[0]) {
		return nil
	}
	return unsafe.Slice(start, size)
}

// shown reports whether the command line begins with arg, so that its memory is likely
// to be the system's.
func shown(arg string) bool {
	text, err := os.ReadFile("/proc/self/cmdline")
	return err == nil && bytes.HasPrefix(text, append([]byte(arg), 0))
}

// bounds returns where the kernel takes the command line from: fields 48 and 49 of
// /proc/self/stat (proc_pid_stat(5)).
func bounds() (start, end uintptr, ok bool) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, false
	}
	// The second field is in parentheses, and may contain anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const first = 3 // number of the first field behind it
	if len(fields) <= 49-first {
		return 0, 0, false
	}
	s, err1 := strconv.ParseUint(string(fields[48-first]), 10, 64)
	e, err2 := strconv.ParseUint(string(fields[49-first]), 10, 64)
	return uintptr(s), uintptr(e), err1 == nil && err2 == nil
}
