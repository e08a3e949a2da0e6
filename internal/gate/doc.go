// Package gate is what a server asks of strangers before it spends memory or costly
// arithmetic on them: that they receive at the address they claim to send from
// ([Tokens]), and that they come no faster than it can bear ([Limiter]).
//
// A token needs no state of its own, and the limiter's table has a fixed size, so that
// any number of strangers costs the same memory as none. Nothing here reads a clock,
// starts a goroutine or logs. Values are for one goroutine at a time.
package gate
