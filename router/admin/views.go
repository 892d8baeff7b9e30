package admin

import (
	"net/http"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"gridrouter.io/routing"
)

// tableView is what /table shows.
type tableView struct {
	Revision      int64  `json:"revision"`
	Hash          string `json:"hash"`
	EffectiveHash string `json:"effectiveHash"`
	SourceStatus
	AgeSeconds       float64        `json:"ageSeconds"`
	PublishedSeconds float64        `json:"publishedSecondsAgo"`
	Counts           routing.Counts `json:"counts"`
	// Guard is what the guard against mass changes holds; absent: nothing.
	Guard *routing.GuardState `json:"guard,omitempty"`
}

func (a *admin) table(ctx *fasthttp.RequestCtx) {
	t, published := a.router.InForce()
	if t == nil {
		Fail(ctx, http.StatusServiceUnavailable, noTable)
		return
	}
	view := tableView{
		Revision: t.Revision(), Hash: t.Hash(), EffectiveHash: t.EffectiveHash(),
		PublishedSeconds: time.Since(published).Seconds(), Counts: t.Counts(),
		Guard: t.Guard(),
	}
	if a.cfg.Source != nil {
		view.SourceStatus = a.cfg.Source()
		view.AgeSeconds = view.Age.Seconds()
	}
	show(ctx, http.StatusOK, view)
}

func (a *admin) problems(ctx *fasthttp.RequestCtx) {
	problems := []routing.Problem{}
	if t, _ := a.router.InForce(); t != nil {
		problems = append(problems, t.Problems()...)
	}
	show(ctx, http.StatusOK, problems)
}

// tenantView is what /tenants/NAME shows.
type tenantView struct {
	Name  string `json:"name"`
	Epoch uint64 `json:"epoch"`
	// Pins counts the tenant's pins; absent: they are read on demand, and nobody has them by tenant.
	Pins *int `json:"pins,omitempty"`
	// PinsOnDemand says that the tenant's pins are read on demand.
	PinsOnDemand bool `json:"pinsOnDemand,omitempty"`
	// Tunnels counts the open tunnels of the moment, such as WebSockets.
	Tunnels int `json:"tunnels"`
	// Hosts are those that the tenant holds; its document may name more.
	Hosts []string `json:"hosts"`
	// Document is the form in force; none if the tenant never had a good one.
	Document *routing.Tenant   `json:"document,omitempty"`
	Problems []routing.Problem `json:"problems,omitempty"`
}

func (a *admin) tenant(ctx *fasthttp.RequestCtx) {
	name := ctx.UserValue("name").(string)
	t, _ := a.tableOf(ctx)
	if t == nil {
		return
	}
	view := tenantView{Name: name, Hosts: []string{}}
	for _, problem := range t.Problems() {
		if problem.Key == "tenants/"+name || strings.HasPrefix(problem.Key, "pins/"+name+"/") {
			view.Problems = append(view.Problems, problem)
		}
	}
	tenant, known := t.Tenant(name)
	if !known && len(view.Problems) == 0 {
		Fail(ctx, http.StatusNotFound, "there is no such tenant")
		return
	}
	if known {
		view.Epoch, view.Document = tenant.Epoch, tenant.Document
		if view.PinsOnDemand = t.CachesPins(name); !view.PinsOnDemand {
			view.Pins = &tenant.Pins
		}
		view.Tunnels = a.router.Tunnels(name)
		view.Hosts = append(view.Hosts, t.Hosts(name)...)
	}
	show(ctx, http.StatusOK, view)
}

func (a *admin) decks(ctx *fasthttp.RequestCtx) {
	show(ctx, http.StatusOK, a.router.Decks())
}
