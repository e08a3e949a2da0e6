// Package reorder puts packets that came by several links back into order.
package reorder
