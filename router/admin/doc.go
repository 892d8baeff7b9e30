// Package admin serves what people and their tools ask a router: health, metrics, the table and its
// documents, decks, explanations, draining. It sees a router through the interface [Router] alone.
//
//   - admin.go: the endpoints, who is let in, and those that change something
//   - health.go: /healthz and /readyz, which may have a listener of their own
//   - views.go: the table, tenants, problems, decks
//   - explain.go: where a request would go, by this table or an earlier one
//   - mux.go: which endpoint a request is for; serve.go: the server, its limits and its end
package admin
