// Package compare is the lab that sets the router beside other proxies: real processes on one
// machine, each set up at its best, given the same hosts and the same load in turns, with every
// answer checked. What it prints are ratios within one run, which outlive the machine.
package compare
