// Package routermetrics reads what routers count of themselves, at GET /metrics of their admin address, and
// reckons with it: what happened between two samples, the 99th percentile, the share of errors, rates.
//
// The numbers are a router's own, so nothing but the router has to run for them. A process that restarts
// counts anew; every reckoning here knows that.
package routermetrics
