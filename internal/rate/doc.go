// Package rate estimates how fast a link can be sent on, from the reports of its
// receiver. It is a leaf without I/O, clock or log.
package rate
