// Package suspend tells how long the host has been suspended. Go's clock stands still
// meanwhile on most systems, but an attacker's does not, so that the age of a key must
// count it.
package suspend
