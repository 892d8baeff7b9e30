// Package lab runs a whole grid on one machine: etcd, sample decks, a mesh ingress
// behind two VIPs, GSLB, two routers and the LVS stand-in in front of them. Every part
// is a child process, so that it can be killed and started again like the real thing.
//
// All addresses are loopback addresses in one block of 256, so that several grids run
// side by side. That a machine answers on all of 127.0.0.0/8 without being set up for
// it, and that children die with their parent, are habits of Linux: the package needs
// Linux.
package lab
