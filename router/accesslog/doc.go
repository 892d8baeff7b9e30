// Package accesslog writes a line of JSON for each request, or for a share of them: an [Entry] in, a
// line out. It never makes a request wait.
package accesslog
