package conf

import (
	"fmt"
	"strings"
)

// A Position is a place in a configuration file.
type Position struct {
	File string
	Line int // from 1; 0 stands for the whole file
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// An Error is one reason why a file was refused.
type Error struct {
	Position
	Message string
}

func (e *Error) Error() string { return e.Position.String() + ": " + e.Message }

// Errors is the error of Load and Parse for a file with wrong contents: all its
// problems by line. It is never empty.
type Errors []*Error

// Error returns one line per problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the single problems.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// A Warning is something in a file that was accepted but does not do what it seems to.
type Warning struct {
	Position
	Message string
}

func (w Warning) String() string { return w.Position.String() + ": " + w.Message }

// nearest returns the candidate with the smallest edit distance to s, ignoring case,
// or "" when none is near enough to be a likely slip.
func nearest(s string, candidates []string) string {
	s = strings.ToLower(s)
	best, bestDist := "", max(1, min(3, len(s)/3))+1
	for _, c := range candidates {
		if d := editDistance(s, strings.ToLower(c)); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// editDistance returns the Damerau-Levenshtein distance (optimal string alignment) in
// bytes: insertions, deletions, substitutions and swaps of neighbours count one each.
func editDistance(a, b string) int {
	prev2 := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
