package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "gridrouter.io/"

// room says what the packages under a folder may import of our own, and what of others
// they must do without. The longest prefix that fits a package holds.
type room struct {
	folder  string
	ours    []string // folders that may be imported, themselves and all below
	without []string // import paths that must not be reached, not even through others
	why     string
}

// The graph of docs/ARCHITECTURE.md, as code.
var rooms = []room{
	{"routing/store", nil, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "net/http", "go.uber.org/zap"},
		"how bytes are found in memory depends on nothing that they mean"},
	{"routing/compile", []string{"routing", "routing/store"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "github.com/prometheus/", "net/http", "go.uber.org/zap"},
		"tables are made by pure code as well: the same changes, the same table"},
	{"routing/routingtest", []string{"routing"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/"},
		"what tests of routing share is compiled as a router does it"},
	{"routing", []string{"routing/store"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "github.com/prometheus/", "net/http", "go.uber.org/zap"},
		"decisions are pure: a table and a request in, a deck out; anybody can make them again"},
	{"routing/document", []string{"routing"}, []string{"gridrouter.io/routing/compile", "github.com/valyala/fasthttp", "go.etcd.io/", "net/http"},
		"reading documents needs their types, and nothing of the running router"},
	{"discovery/files", nil, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "net/http", "go.uber.org/zap"},
		"how a named file is opened concerns nobody else"},
	{"discovery", []string{"discovery", "discovery/files"}, []string{"github.com/valyala/fasthttp", "github.com/miekg/dns", "go.etcd.io/etcd/server/"},
		"following a source knows no domain type"},
	{"discovery/catalog", []string{"routing", "discovery", "gslb"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/etcd/server/"},
		"the write side checks what it writes"},
	{"gslb", []string{"gslb", "discovery/files"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/"},
		"names and addresses know neither tenants nor etcd"},
	{"router", []string{"router/accesslog", "router/admission", "router/faults", "router/forwarding", "router/history", "router/http1", "router/lograte", "router/metrics", "router/proxyproto", "router/upstream", "router/wire", "routing"}, []string{"gridrouter.io/routing/compile", "go.etcd.io/", "github.com/miekg/dns", "go.yaml.in/", "k8s.io/", "sigs.k8s.io/"},
		"the data path cannot wait for etcd, DNS or Kubernetes if it cannot reach them; it declares the small interfaces it needs"},
	{"router/proxyproto", nil, []string{"github.com/valyala/fasthttp", "net/http", "go.etcd.io/", "go.uber.org/zap", "github.com/prometheus/"},
		"a header of some bytes is read by pure code, which knows no connection"},
	{"router/faults", []string{"router/accesslog", "router/admission", "router/http1", "routing"}, []string{"gridrouter.io/routing/compile", "go.etcd.io/", "github.com/prometheus/"},
		"a code in, an answer out: whose fault it is does not depend on the request's way"},
	{"router/forwarding", []string{"router/admission", "router/http1"}, []string{"gridrouter.io/routing/compile", "github.com/valyala/fasthttp", "net/http", "go.etcd.io/", "go.uber.org/zap", "github.com/prometheus/"},
		"who is believed about a client is read from a head and a peer, by pure code"},
	{"router/history", []string{"routing"}, []string{"gridrouter.io/routing/compile", "github.com/valyala/fasthttp", "net/http", "go.etcd.io/", "go.uber.org/zap", "github.com/prometheus/"},
		"tables are kept by who knows nothing of what goes by them"},
	{"router/certs", []string{"discovery/files"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/"},
		"certificates know nothing of requests"},
	{"router/accesslog", []string{"discovery/files"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "github.com/prometheus/"},
		"an entry in, a line out: what a request is, the log need not know"},
	{"router/admin", []string{"router/admission", "router/upstream", "routing"}, []string{"go.etcd.io/", "github.com/miekg/dns"},
		"the endpoints see a router through an interface, as anybody outside would"},
	{"router/upstream", []string{"router/wire", "router/metrics", "router/lograte", "routing", "discovery/files"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/"},
		"connections to decks know neither clients nor what is said on them"},
	{"router/metrics", nil, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "go.uber.org/zap"},
		"how counters are kept and shown concerns nobody who counts"},
	{"router/lograte", nil, []string{"github.com/valyala/fasthttp", "net/http", "go.etcd.io/", "go.uber.org/zap", "github.com/prometheus/"},
		"a bound on lines knows no logger"},
	{"router/wire", nil, []string{"github.com/valyala/fasthttp", "net/http", "go.etcd.io/", "go.uber.org/zap", "github.com/prometheus/"},
		"connections and their waits know neither HTTP nor decks"},
	{"router/http1", nil, []string{"github.com/valyala/fasthttp", "net/http", "go.etcd.io/"},
		"the grammar of messages is pure code, which knows neither decks nor tenants"},
	{"router/admission", []string{"router/http1", "routing"}, []string{"gridrouter.io/routing/compile", "github.com/valyala/fasthttp", "net/http", "go.etcd.io/"},
		"what is let in is decided by pure code, which explain runs as well"},
	{"bench/load", nil, []string{"go.etcd.io/"}, "the load tools can measure anything, so they know nothing of ours"},
	{"bench/report", []string{"bench/load"}, []string{"go.etcd.io/"}, "results are drawn by who knows nothing of their making"},
	{"bench/child", nil, []string{"go.etcd.io/", "net/http", "github.com/valyala/fasthttp"}, "how a process is started and ended concerns nobody else"},
	{"bench/parts", nil, []string{"go.etcd.io/", "net/http", "github.com/valyala/fasthttp"}, "how parts are run one after the other concerns nobody who measures"},
	{"bench/compare", []string{"bench/child", "bench/parts", "bench/load", "bench/report", "bench/table", "discovery"}, []string{"go.etcd.io/etcd/server/"},
		"the router is measured as a process, like its peers; only its documents are known"},
	{"bench/conformance", []string{"bench/child", "bench/lab"}, nil, "the real binary is held against other programs"},
	{"bench/table", []string{"bench/child", "bench/parts", "routing", "discovery", "bench/report"}, []string{"go.etcd.io/etcd/server/", "github.com/valyala/fasthttp"},
		"the table is measured by the parts that a router makes it with; etcd is another process"},
	{"bench/lab", []string{"bench/child", "bench/lab", "routing/document", "routing", "discovery/catalog", "discovery", "gslb"}, nil,
		"a grid on one machine runs the real binaries; it only reads and writes documents"},
	{"bench/testkit", nil, []string{"go.etcd.io/", "github.com/valyala/fasthttp"},
		"tests inside any package use it, so it knows none, and links nothing that most do without"},
	{"bench/testkit/etcdtest", []string{"bench/testkit"}, []string{"github.com/valyala/fasthttp"}, "etcd in a test is like etcd anywhere: it knows nobody who uses it"},
	{"bench/testkit/routertest", []string{"bench/testkit", "bench/child"}, []string{"go.etcd.io/", "github.com/valyala/fasthttp"},
		"a router in a test is a process, as anywhere"},
	{"bench/testkit/kubetest", nil, []string{"github.com/valyala/fasthttp"}, "an API server in a test knows nothing of who asks it"},
	{"deploy/api", []string{"deploy/api"}, []string{"go.etcd.io/", "github.com/valyala/fasthttp", "sigs.k8s.io/controller-runtime", "k8s.io/apiextensions-apiserver"},
		"the types of our Kubernetes resources stand alone; clients read and write them without a controller's libraries"},
	{"deploy/api/v1alpha1", nil, []string{"k8s.io/client-go"}, "types and their rules need no client"},
	{"deploy/workflow", nil, []string{"k8s.io/", "go.etcd.io/", "github.com/valyala/fasthttp", "net/http", "go.uber.org/zap"},
		"what follows what is pure code; where it is stored concerns who drives it"},
	{"deploy/locks", []string{"deploy/locks"}, []string{"k8s.io/", "go.etcd.io/", "github.com/valyala/fasthttp", "net/http"},
		"what a lock means depends on nowhere that it is kept"},
	{"deploy/locks/etcdlock", []string{"deploy/locks"}, []string{"k8s.io/", "go.etcd.io/etcd/server/", "github.com/valyala/fasthttp"}, "a lock in etcd needs etcd"},
	{"deploy/locks/leaselock", []string{"deploy/locks"}, []string{"k8s.io/client-go", "go.etcd.io/", "github.com/valyala/fasthttp"},
		"a lock in a Lease needs the type of a Lease; who calls it brings the client"},
	{"deploy/etcd/inspect", []string{"deploy/etcd/inspect/brief", "deploy/etcd/inspect/metrics"}, []string{"k8s.io/", "sigs.k8s.io/", "go.etcd.io/etcd/server/", "github.com/valyala/fasthttp"},
		"clusters of etcd are diagnosed by who knows etcd alone, wherever its members run"},
	{"deploy/etcd/inspect/brief", nil, []string{"k8s.io/", "go.etcd.io/", "net/http"}, "how a result is kept small depends on nothing that it says"},
	{"deploy/etcd/inspect/metrics", nil, []string{"k8s.io/", "go.etcd.io/", "github.com/valyala/fasthttp"}, "numbers of members are read over HTTP, as by any Prometheus"},
	{"deploy/etcd/inspect/keyspace", []string{"deploy/etcd/inspect/brief"}, []string{"k8s.io/", "sigs.k8s.io/", "go.etcd.io/etcd/server/"},
		"keys are counted and removed through any client, whoever opened it"},
	{"deploy/etcd/inspect/upkeep", []string{"deploy/etcd/inspect"}, []string{"k8s.io/", "sigs.k8s.io/", "go.etcd.io/etcd/server/", "github.com/valyala/fasthttp"},
		"maintenance looks first, by the same eyes as the diagnosis"},
	{"deploy/operator/fleet/canary", []string{"deploy/workflow"}, []string{"k8s.io/", "go.etcd.io/", "github.com/valyala/fasthttp", "net/http"},
		"a rollout is decided by pure code, which a picture and a test can show whole"},
	{"deploy/etcd/member", nil, []string{"k8s.io/", "go.etcd.io/", "github.com/valyala/fasthttp", "net/http"},
		"what a pod and its operator tell each other is read by both, and needs neither Kubernetes nor etcd"},
	{"deploy/etcd/member/starter", []string{"deploy/etcd/member", "discovery/files"}, []string{"k8s.io/", "go.etcd.io/etcd/server/v3/etcdserver", "go.etcd.io/etcd/server/v3/embed", "go.etcd.io/etcd/client/v3", "github.com/valyala/fasthttp"},
		"who starts etcd reads the head of its log; it asks nobody and serves nothing"},
	{"deploy/etcd/backup/chain", nil, []string{"k8s.io/", "go.etcd.io/", "net/http", "os/exec", "github.com/valyala/fasthttp", "github.com/minio/minio-go/"},
		"what the objects of a backup are is pure code: bytes in, bytes out"},
	{"deploy/etcd/backup/store", nil, []string{"k8s.io/", "go.etcd.io/", "github.com/valyala/fasthttp"},
		"who keeps objects knows nothing of what they hold"},
	{"deploy/etcd/backup", []string{"deploy/etcd/backup/chain", "deploy/etcd/backup/store"}, []string{"k8s.io/", "go.etcd.io/etcd/server/", "github.com/valyala/fasthttp"},
		"backups are made by a client of etcd; only restoring them takes its server"},
	{"deploy/etcd/backup/restore", []string{"deploy/etcd/backup"}, []string{"k8s.io/client-go", "github.com/valyala/fasthttp"},
		"data of etcd are made by etcd's own code, and nowhere else"},
	{"deploy/clusters", []string{"deploy/api"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/"}, "how clusters are reached concerns nobody who says what is to be in them"},
	{"deploy/operator", []string{"deploy", "discovery"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/etcd/server/", "gridrouter.io/router"},
		"the operator knows routers as anybody outside would: by their flags, endpoints and status keys"},
	{"deploy/operator/fleet/render", []string{"deploy/api"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "sigs.k8s.io/controller-runtime"},
		"what a spec means in objects is pure code, which golden files can show whole"},
	{"deploy/operator/fleet/analysis", []string{"deploy/api", "deploy/operator/routermetrics"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/"},
		"a verdict is reckoned from numbers alone"},
	{"deploy/operator/fleet/tables", []string{"discovery"}, []string{"github.com/valyala/fasthttp", "k8s.io/", "go.etcd.io/etcd/server/"},
		"what routers tell of themselves in etcd is read without Kubernetes"},
	{"deploy/operator/objects", nil, []string{"github.com/valyala/fasthttp", "go.etcd.io/"}, "objects are brought to what they are to be, whosever they are"},
	{"deploy/operator/etcd/plan", nil, []string{"github.com/valyala/fasthttp", "k8s.io/", "go.etcd.io/", "go.uber.org/zap"}, "a decision is pure, so that it can be tried on any cluster"},
	{"deploy/operator/etcd/observe", []string{"deploy/operator/etcd/pki"}, []string{"github.com/valyala/fasthttp", "k8s.io/"}, "members are asked wherever they run"},
	{"deploy/operator/etcd/maintain", []string{"deploy/etcd/inspect"}, []string{"k8s.io/", "sigs.k8s.io/", "go.etcd.io/etcd/server/", "github.com/valyala/fasthttp"},
		"space is kept beside the reconciler, by who knows etcd alone"},
	{"deploy/operator/etcd/render", []string{"deploy/api", "deploy/etcd/member", "deploy/operator/etcd/pki"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "sigs.k8s.io/controller-runtime"}, "what a spec means is pure"},
	{"deploy/operator/etcd/tasks", []string{"deploy/api", "deploy/etcd/inspect"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/etcd/server/"}, "acts are known by who knows etcd alone; this says when they may be done"},
	{"deploy/operator/etcd/pki", nil, []string{"github.com/valyala/fasthttp", "k8s.io/", "go.etcd.io/", "go.uber.org/zap"},
		"certificates are decided by pure code: the Secrets and a clock in, the Secrets out"},
	{"deploy/operator/fleet/vip", []string{"deploy/api"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/"}, "real servers follow pods and tables, wherever these come from"},
	{"deploy/operator/routermetrics", nil, []string{"github.com/valyala/fasthttp", "go.etcd.io/", "k8s.io/"}, "numbers of routers are read over HTTP, as by any Prometheus"},
	{"deploy/operator/metricsapi", []string{"deploy/operator/routermetrics"}, []string{"github.com/valyala/fasthttp", "go.etcd.io/"}, "the metrics API shows numbers that others read"},
	{"deploy/services", []string{"deploy/api", "deploy/clusters", "deploy/workflow", "deploy/locks", "discovery/catalog"}, []string{"github.com/valyala/fasthttp", "sigs.k8s.io/controller-runtime/pkg/manager"},
		"business methods are called by people's tools, which run no controller"},
	{"deploy/image", nil, []string{"k8s.io/", "go.etcd.io/"}, "an image is held to its files alone"},
	{"deploy/manifests", nil, []string{"k8s.io/", "go.etcd.io/"}, "files to install from, carried by the binary"},
	{"deploy/console", []string{"deploy/api", "deploy/console", "routing", "discovery"}, nil, "the console writes resources and documents"},
	{"deploy/samples", nil, nil, "documents to read, carried by griddev"},
	{"cmd", []string{""}, nil, "cmd composes; nothing imports it but itself"},
	{"cmd/flags", []string{"discovery", "routing/document", "discovery/files"}, []string{"github.com/valyala/fasthttp"}, "manners that all commands share"},
	{"cmd/gridrouter", []string{"cmd/flags", "discovery/files", "router", "routing", "discovery", "gslb", "deploy"}, nil,
		"what Kubernetes and etcd's server cost it, for the modes operator and etcd, is in adr/0020 and adr/0025; slim builds carry neither"},
	{"cmd/gridctl", []string{"cmd/flags", "router/admission", "routing", "discovery", "gslb", "deploy/api", "deploy/services"}, []string{"go.etcd.io/etcd/server/"},
		"the hand tool is no router"},
	{"cmd/griddev", []string{"cmd/flags", "cmd/griddev", "bench/lab", "deploy/samples", "routing", "discovery"}, nil, "development and demos only"},
	{"cmd/gridbench", []string{"cmd/flags", "bench"}, nil, "the load tools' command line"},
	{"docs", []string{}, nil, "words"},
}

// testOnly are the folders that nothing may link but tests, whatever the rooms say.
var testOnly = []string{"bench/testkit", "routing/routingtest"}

// withoutKubernetes are the folders of the modes serve and gslb, which share a binary with the operator and
// nothing else.
var withoutKubernetes = []string{"router", "routing", "discovery", "gslb", "cmd/flags"}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// TestImportsFollowTheArchitecture holds every package to the table above.
func TestImportsFollowTheArchitecture(t *testing.T) {
	seen := 0
	for _, p := range listPackages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		r := roomOf(folder)
		if r == nil {
			t.Errorf("%s is in no room: give it one in docs/architecture_test.go and docs/ARCHITECTURE.md", folder)
			continue
		}
		seen++
		for _, imported := range p.Imports {
			own, ours := strings.CutPrefix(imported, module)
			if ours && !within(own, r.ours) {
				t.Errorf("%s imports %s, which it may not: %s", folder, own, r.why)
			}
		}
		for _, dep := range p.Deps {
			for _, banned := range r.without {
				if dep == strings.TrimSuffix(banned, "/") || strings.HasPrefix(dep, strings.TrimSuffix(banned, "/")+"/") {
					t.Errorf("%s reaches %s, which it must do without: %s", folder, dep, r.why)
				}
			}
		}
	}
	if seen < 10 {
		t.Fatalf("only %d packages were looked at", seen)
	}
}

// TestOnlyTestsReachWhatIsForTests looks at what is linked without _test.go files.
func TestOnlyTestsReachWhatIsForTests(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range listPackages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		for _, only := range testOnly {
			if within(folder, []string{only}) {
				seen[only] = true
				continue
			}
			for _, dep := range p.Deps {
				if within(strings.TrimPrefix(dep, module), []string{only}) {
					t.Errorf("%s reaches %s, which is for _test.go files only", folder, dep)
				}
			}
		}
	}
	if len(seen) != len(testOnly) {
		t.Errorf("of %v only %v are there", testOnly, seen)
	}
}

// TestRoutersKnowNoKubernetes holds the request path and all that feeds it apart from the operator's libraries.
func TestRoutersKnowNoKubernetes(t *testing.T) {
	seen := 0
	for _, p := range listPackages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		if !within(folder, withoutKubernetes) {
			continue
		}
		seen++
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "k8s.io/") && !strings.HasPrefix(dep, "k8s.io/utils/") || strings.HasPrefix(dep, "sigs.k8s.io/") || strings.HasPrefix(dep, module+"deploy/") {
				t.Errorf("%s reaches %s: routers know no Kubernetes and no operator", folder, dep)
			}
		}
	}
	if seen < 10 {
		t.Fatalf("only %d packages were looked at", seen)
	}
}

// TestASlimRouterCarriesNoServerOfEtcd holds the program that fleets run; griddev has one to show, and is none of them.
func TestASlimRouterCarriesNoServerOfEtcd(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-pgo=off", "-tags=slim", "-deps", module+"cmd/gridrouter").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, banned := range []string{"go.etcd.io/etcd/server/", "go.etcd.io/etcd/etcdutl/", "github.com/minio/minio-go/"} {
			if strings.HasPrefix(dep, banned) {
				t.Errorf("the slim router reaches %s", strings.TrimSpace(dep))
			}
		}
	}
}

// TestASlimBuildCarriesNoKubernetes holds the build with the tag slim to what docs/adr/0020 promises of it. The
// packages that etcd and readers of YAML bring were there before.
func TestASlimBuildCarriesNoKubernetes(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-pgo=off", "-tags=slim", "-deps", module+"cmd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		if strings.HasPrefix(dep, "k8s.io/") && !strings.HasPrefix(dep, "k8s.io/utils/") || strings.HasPrefix(dep, "sigs.k8s.io/") && !strings.HasPrefix(dep, "sigs.k8s.io/yaml") {
			t.Errorf("the slim build reaches %s", strings.TrimSpace(dep))
		}
		if strings.HasPrefix(dep, module+"deploy/etcd/") {
			t.Errorf("the slim build reaches %s", strings.TrimSpace(dep))
		}
	}
}

// TestNoRoomIsANameForNothing refuses the names under which anything could be put. Apply configurations
// are generated, with names that the generator chooses.
func TestNoRoomIsANameForNothing(t *testing.T) {
	for _, p := range listPackages(t) {
		if strings.HasPrefix(p.ImportPath, module+"deploy/api/applyconfiguration/") {
			continue
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(p.ImportPath, module), "/") {
			switch part {
			case "util", "utils", "common", "helpers", "types", "interfaces", "misc", "pkg", "internal":
				t.Errorf("%s: %q says nothing of what is in it", p.ImportPath, part)
			}
		}
	}
}

func roomOf(folder string) *room {
	var best *room
	for i := range rooms {
		if r := &rooms[i]; within(folder, []string{r.folder}) && (best == nil || len(r.folder) > len(best.folder)) {
			best = r
		}
	}
	return best
}

// within says whether a folder is one of the given ones, or below one.
func within(folder string, folders []string) bool {
	for _, f := range folders {
		if f == "" || folder == f || strings.HasPrefix(folder, f+"/") {
			return true
		}
	}
	return false
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	command := exec.Command("go", "list", "-pgo=off", "-deps=false", "-json=ImportPath,Imports,Deps", module+"...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
