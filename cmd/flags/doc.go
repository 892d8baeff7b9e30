// Package flags gives every command of the project the same manners.
//
// A flag may be given on the command line, by the environment, or by a file:
//
//	--drain-delay 5s                       the command line beats
//	GRIDROUTER_DRAIN_DELAY=5s              the environment, which beats
//	drain-delay: 5s                        the file that --config names
//
// Every fault ends as one line on the standard error output and as an exit status:
// 0 clean, 1 a fault at run time, 2 bad flags or configuration.
//
//   - bind.go: where the values of flags come from
//   - configfile.go: the file that --config names
//   - exit.go: errors, their one line, and the exit status
//   - etcd.go: the flags that say how etcd is reached
package flags
