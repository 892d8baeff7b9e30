// Package wire is the data path's connections: sockets whose waits are bounded without a timer or a
// system call each, the calls themselves, the buffers that bytes pass through, and the clock that
// waits are counted by. It knows neither HTTP nor decks.
package wire
