// Package report draws what was measured: one HTML page that needs nothing else, with tables
// and plots, and the description of the machine that belongs to every number.
package report
