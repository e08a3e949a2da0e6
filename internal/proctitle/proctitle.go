// Package proctitle sets what ps(1) shows for this process, where the system allows it:
// on Linux. Elsewhere its functions do nothing.
package proctitle

// Prepare must be called first of all in main, and only there: it copies os.Args, because
// Set may overwrite their memory, to which nothing else may refer.
func Prepare() { prepare() }

// Set shows title in place of the command line, to whose length it is cut unless the
// process had CAP_SYS_RESOURCE when Prepare was called. It is for one goroutine at a time.
func Set(title string) { set(title) }
