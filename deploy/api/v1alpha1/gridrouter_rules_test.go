package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	"gridrouter.io/deploy/api/v1alpha1"
)

// fleet is the least that a fleet must say; the rows below change it.
const fleet = `
apiVersion: gridrouter.io/v1alpha1
kind: GridRouter
metadata: {name: edge, namespace: grid}
spec:
  version: 1.4.0
  replicas: 3
  etcd: {endpoints: ["http://etcd:2379"]}
`

// changed returns an object with a change in its spec, as YAML.
func changed(t *testing.T, object, change string) map[string]any {
	t.Helper()
	all := decode(t, object)
	merge(all, map[string]any{"spec": decode(t, change)})
	return all
}

// A refusal is one row: what is wrong with a spec, and what the API server answers.
type refusal func(change string, want ...string)

func refusals(t *testing.T, k *kind, object string) refusal {
	return func(change string, want ...string) {
		t.Helper()
		got := lines(k.admit(changed(t, object, change)))
		if strings.Count(got, "\n")+1 != len(want) {
			t.Errorf("%s is refused by\n%s", change, got)
		}
		answer, tried := inCluster(t, changed(t, object, change))
		for _, line := range want {
			if !strings.Contains(got, line) {
				t.Errorf("%s is refused by\n%s\nand not by\n%s", change, got, line)
			}
			if strings.HasSuffix(line, "unknown field") {
				line = "unknown field" // which is told before all else there, with another form of the path
			}
			if tried && !strings.Contains(answer, line) {
				t.Errorf("in the cluster %s is refused by\n%s\nand not by\n%s", change, answer, line)
			}
		}
	}
}

// TestAFleetThatCannotBeIsRefused goes through what the top of a spec may say, row by row.
func TestAFleetThatCannotBeIsRefused(t *testing.T) {
	k := newKind(t, "gridrouters")
	f := refusals(t, k, fleet)

	f(`{version: null}`, `spec.version: Required value`)
	f(`{version: "1.4.0 beta"}`, `version is the tag of an image: write one such as 1.4.0`)
	f(`{version: 1.4}`, `spec.version in body must be of type string`)
	f(`{image: "gridrouter:1.4.0"}`, `image holds a tag or a digest: write the tag into version`)
	f(`{image: "r.example/gridrouter@sha256:0123"}`, `image holds a tag or a digest`)
	f(`{image: GridRouter}`, `image must be a name such as registry.example:5000/team/gridrouter`)

	f(`{replicas: null}`, `say how many routers the fleet has: set replicas, or autoscaling`)
	f(`{replicas: -1}`, `spec.replicas in body should be greater than or equal to 0`)
	f(`{replicas: 1001}`, `spec.replicas in body should be less than or equal to 1000`)
	f(`{autoscaling: {max: 5, requestsPerSecond: 100}}`, `replicas and autoscaling exclude each other: remove one of them`)
	f(`{replicas: null, autoscaling: {max: 5}}`, `there is nothing to scale by: set cpuPercent, requestsPerSecond, or both`)
	f(`{replicas: null, autoscaling: {min: 6, max: 5, requestsPerSecond: 100}}`, `min is above max: lower min, or raise max`)
	f(`{replicas: null, autoscaling: {max: 1, requestsPerSecond: 100}}`, `min is above max`) // the default of min is 2
	f(`{replicas: null, autoscaling: {min: 2, requestsPerSecond: 100}}`, `spec.autoscaling.max: Required value`)
	f(`{replicas: null, autoscaling: {min: 0, max: 5, requestsPerSecond: 100}}`, `spec.autoscaling.min in body should be greater than or equal to 1`)
	f(`{replicas: null, autoscaling: {max: 5, requestsPerSecond: 0}}`, `spec.autoscaling.requestsPerSecond in body should be greater than or equal to 1`)
	f(`{replicas: null, autoscaling: {max: 5, cpuPercent: 60}}`, `autoscaling.cpuPercent is a share of what a router requests: set resources.requests.cpu`)

	f(`{etcd: null}`, `spec.etcd: Required value`)
	f(`{etcd: {endpoints: null}}`, `no etcd is named: set etcd.cluster, or name the members in etcd.endpoints`)
	f(`{cluster: west, etcd: {cluster: edge, endpoints: null}}`, `etcd.cluster names an EtcdCluster where the operator runs`)
	f(`{etcd: {cluster: edge}}`, `etcd.cluster and etcd.endpoints exclude each other: remove one of them`)
	f(`{etcd: {endpoints: []}}`, `spec.etcd.endpoints in body should have at least 1 items`)
	f(`{etcd: {endpoints: ["etcd:2379"]}}`, `spec.etcd.endpoints[0]: Invalid value: "etcd:2379": an endpoint must be the URL of a member with its port: write http://HOST:PORT`)
	f(`{etcd: {endpoints: ["http://etcd"]}}`, `an endpoint must be the URL of a member with its port`)
	f(`{etcd: {endpoints: ["http://a:1", "http://a:1"]}}`, `spec.etcd.endpoints[1]: Duplicate value: "http://a:1"`)
	f(`{etcd: {secret: Root}}`, `etcd.secret must be the name of a Secret`)
	f(`{etcd: {endpoints: null, secret: login}}`, `no etcd is named`, `etcd.secret belongs to etcd.endpoints: name the members there, or remove the secret`)

	f(`{prefix: gridrouter/}`, `prefix must begin and end with "/"`)
	f(`{prefix: /gridrouter}`, `write one such as /gridrouter/`)
	f(`{prefix: /}`, `prefix must begin and end with "/"`)
	f(`{prefix: //}`, `with a name between every two of them`)

	f(`{rollbackTo: -1}`, `spec.rollbackTo in body should be greater than or equal to 0`)
	f(`{cluster: West_1}`, `cluster must be the name of a ClusterConnection`)
	f(`{paused: "yes"}`, `spec.paused in body must be of type boolean`)
	f(`{sidecars: []}`, `spec.sidecars: Invalid value: null: unknown field`)
}

// TestAnUnfitNameIsRefused: Services and pods are named after a fleet.
func TestAnUnfitNameIsRefused(t *testing.T) {
	k := newKind(t, "gridrouters")
	for name, fits := range map[string]bool{
		"edge": true, "edge-2": true, strings.Repeat("e", 50): true,
		"2edge": false, "edge.west": false, strings.Repeat("e", 51): false,
	} {
		object := decode(t, fleet)
		object["metadata"] = map[string]any{"name": name}
		got := lines(k.admit(object))
		if fits != (got == "") || !fits && !strings.Contains(got, "the fleet's Services and pods are named after it: choose such a name") {
			t.Errorf("the name %s: %q", name, got)
		}
	}
}

// TestListenersThatCannotBeAreRefused goes through listeners, DNS servers and arguments.
func TestListenersThatCannotBeAreRefused(t *testing.T) {
	k := newKind(t, "gridrouters")
	f := refusals(t, k, fleet)

	f(`{listeners: []}`, `spec.listeners in body should have at least 1 items`)
	f(`{listeners: [{name: http}]}`, `spec.listeners[0].port: Required value`)
	f(`{listeners: [{name: http, port: 0}]}`, `spec.listeners[0].port in body should be greater than or equal to 1`)
	f(`{listeners: [{name: http, port: 65536}]}`, `spec.listeners[0].port in body should be less than or equal to 65535`)
	for _, port := range []int{v1alpha1.AdminPort, v1alpha1.HealthPort} {
		f(fmt.Sprintf(`{listeners: [{name: http, port: %d}]}`, port), `ports 9901 and 9902 belong to the routers' admin endpoints and health: choose another`)
	}
	f(`{listeners: [{name: http, port: 80}, {name: other, port: 80}]}`, `two listeners have the same port: give each its own`)
	f(`{listeners: [{name: http, port: 80}, {name: http, port: 81}]}`, `spec.listeners[1]: Duplicate value: {"name":"http"}`)
	f(`{listeners: [{name: HTTP, port: 80}]}`, `a listener's name must be the name of a port`)
	f(`{listeners: [{name: "80", port: 80}]}`, `with a letter among them, such as http`)
	f(`{listeners: [{name: a--b, port: 80}]}`, `single '-' between them`)
	f(`{listeners: [{name: a-very-long-name, port: 80}]}`, `spec.listeners[0].name: Too long: may not be more than 15 bytes`)
	f(`{listeners: [{name: https, port: 443, tlsSecret: Cert}]}`, `tlsSecret must be the name of a Secret`)

	f(`{gslb: {servers: [dns.example]}}`, `spec.gslb.servers[0]: Invalid value: "dns.example": a DNS server must be an address, not a name: write one such as 10.96.0.53`)
	f(`{gslb: {servers: ["10.96.0.53:0"]}}`, `a DNS server must be an address`)
	f(`{gslb: {servers: ["10.96.0.53:65536"]}}`, `a DNS server must be an address`)
	f(`{gslb: {servers: ["10.96.0:53"]}}`, `a DNS server must be an address`)
	f(`{gslb: {servers: ["[10.96.0.53]:53"]}}`, `a DNS server must be an address`)
	f(`{gslb: {servers: ["[fd00::g]:53"]}}`, `a DNS server must be an address`)
	f(`{gslb: {servers: ["[fd00::53]:99999"]}}`, `a DNS server must be an address`)

	f(`{args: [verbose]}`, `spec.args[0]: Invalid value: "verbose": an item of args must be a flag with its value: write --flag=value`)
	f(`{args: ["--log-level", "debug"]}`, `spec.args[0]: Invalid value: "--log-level": an item of args must be`, `spec.args[1]: Invalid value: "debug": an item of args must be`)
	f(`{args: ["--listen=:80"]}`, `--listen, --listen-tls and --tls-cert may not stand in args: use listeners`)
	f(`{args: ["--etcd=http://etcd:2379"]}`, `where documents come from may not stand in args: use etcd`)
	f(`{args: ["--prefix=/x/"]}`, `--prefix may not stand in args: use prefix`)
	f(`{args: ["--gslb=10.96.0.53"]}`, `--gslb may not stand in args: use gslb.servers`)
	f(`{args: ["--drain-delay=1s"]}`, `--drain-delay and --drain-timeout may not stand in args: use drain`)
	f(`{args: ["--log-level=info", "--admin=:80"]}`, `spec.args[1]: Invalid value: "--admin=:80": --admin, --admin-token-file, --health, --snapshot, --router-id and --config are set by the operator alone`)
	f(`{args: ["--log-level=info", "--log-level=warn"]}`, `a flag is given twice: write each once`)
}

// TestPlacesThatCannotBeAreRefused goes through resources, placement, access and disruption.
func TestPlacesThatCannotBeAreRefused(t *testing.T) {
	k := newKind(t, "gridrouters")
	f := refusals(t, k, fleet)

	f(`{resources: {requests: {cpu: fast}}}`, `spec.resources.requests.cpu in body should match`)
	f(`{resources: {requests: {cpu: 2}, limits: {cpu: 1500m}}}`, `more is requested of cpu or memory than the limit allows: lower requests, or raise limits`)
	f(`{resources: {requests: {memory: 1Gi}, limits: {memory: 512Mi}}}`, `more is requested of cpu or memory than the limit allows`)
	f(`{resources: {claims: [{name: gpu}]}}`, `a router uses no claimed devices: remove claims`)

	f(`{placement: {zones: pack}}`, `spec.placement.zones: Unsupported value: "pack": supported values: "spread", "strict", "any"`)
	f(`{placement: {priorityClass: High!}}`, `priorityClass must be the name of a PriorityClass`)

	f(`{access: {}}`, `spec.access.namespaces: Required value`)
	f(`{access: {namespaces: {matchExpressions: [{key: zone, operator: Equals, values: [a]}]}}}`, `an operator must be In or NotIn with values, or Exists or DoesNotExist without: correct matchExpressions`)
	f(`{access: {namespaces: {matchExpressions: [{key: zone, operator: In}]}}}`, `an operator must be In or NotIn with values`)
	f(`{access: {namespaces: {}, cidrs: [10.9.0.1]}}`, `spec.access.cidrs[0]: Invalid value: "10.9.0.1": a CIDR must be a block of addresses`)
	f(`{access: {namespaces: {}, cidrs: [10.9.0.1/16]}}`, `without bits behind its length: write one such as 10.9.0.0/16`)

	f(`{disruption: {maxUnavailable: 0}}`, `disruption.maxUnavailable must be at least 1, else no node can be drained`)
	f(`{disruption: {maxUnavailable: "0%"}}`, `write a number from 1 to 1000, or a share such as 25%`)
	f(`{disruption: {maxUnavailable: "1"}}`, `write a number from 1 to 1000, or a share such as 25%`)
}

// TestRolloutsThatCannotBeAreRefused goes through rollout, drain and exposure.
func TestRolloutsThatCannotBeAreRefused(t *testing.T) {
	k := newKind(t, "gridrouters")
	f := refusals(t, k, fleet)

	f(`{rollout: {strategy: Recreate}}`, `spec.rollout.strategy: Unsupported value: "Recreate": supported values: "Rolling", "Canary"`)
	f(`{rollout: {strategy: Canary}}`, `strategy Canary needs steps: set rollout.canary.steps, or strategy Rolling`)
	f(`{rollout: {strategy: Canary, canary: {}}}`, `spec.rollout.canary.steps: Required value`)
	f(`{rollout: {strategy: Canary, canary: {steps: []}}}`, `spec.rollout.canary.steps in body should have at least 1 items`)
	f(`{rollout: {canary: {steps: [{percent: 10}]}}}`, `rollout.canary is followed by strategy Canary alone: set that strategy, or remove canary`)
	f(`{rollout: {maxSurge: 0}}`, `no router could ever be replaced: set one of them to 1`)
	f(`{rollout: {maxSurge: "0%", maxUnavailable: "0%"}}`, `no router could ever be replaced`)
	f(`{rollout: {maxSurge: "125%"}}`, `maxSurge must be a number from 0 to 1000, or a share such as 25%`)
	f(`{rollout: {maxUnavailable: -1}}`, `maxUnavailable must be a number from 0 to 1000, or a share such as 25%`)
	f(`{rollout: {history: 0}}`, `spec.rollout.history in body should be greater than or equal to 1`)
	f(`{rollout: {progressDeadline: 5s}}`, `progressDeadline must be a duration from 10s to 24h: write one such as 10m`)
	f(`{rollout: {progressDeadline: 10 minutes}}`, `progressDeadline must be a duration`)

	step := func(steps string) string { return `{rollout: {strategy: Canary, canary: {steps: ` + steps + `}}}` }
	f(step(`[{percent: 50}, {percent: 10}]`), `each step must have a greater percent than the one before: put them in ascending order`)
	f(step(`[{percent: 10}, {percent: 10}]`), `each step must have a greater percent`)
	f(step(`[{percent: 101}]`), `spec.rollout.canary.steps[0].percent in body should be less than or equal to 100`)
	f(step(`[{percent: 0}]`), `spec.rollout.canary.steps[0].percent in body should be greater than or equal to 1`)
	f(step(`[{percent: 10, hold: 25h}]`), `hold must be a duration from 0s to 24h: write one such as 60s`)
	f(step(`[{percent: 10, hold: -1s}]`), `hold must be a duration from 0s to 24h`)
	judged := func(analysis string) string {
		return `{rollout: {strategy: Canary, canary: {steps: [{percent: 10}], analysis: ` + analysis + `}}}`
	}
	f(judged(`{maxErrorPercent: 101}`), `analysis.maxErrorPercent in body should be less than or equal to 100`)
	f(judged(`{maxP99Ratio: 0.5}`), `analysis.maxP99Ratio in body should be greater than or equal to 1`)
	f(judged(`{minRequests: -1}`), `analysis.minRequests in body should be greater than or equal to 0`)

	f(`{drain: {delay: 11m}}`, `drain.delay must be a duration from 0s to 10m: write one such as 5s`)
	f(`{drain: {delay: "5"}}`, `drain.delay must be a duration from 0s to 10m`)
	f(`{drain: {delay: 5}}`, `spec.drain.delay in body must be of type string`)
	f(`{drain: {timeout: 2h}}`, `drain.timeout must be a duration from 0s to 1h: write one such as 30s`,
		`drain.delay and drain.timeout are together more than 1h, the longest grace period of a pod: lower one of them`)
	f(`{drain: {delay: 10m, timeout: 55m}}`, `drain.delay and drain.timeout are together more than 1h`)

	f(`{exposure: {type: NodePort}}`, `spec.exposure.type: Unsupported value: "NodePort": supported values: "ClusterIP", "LoadBalancer", "LVS"`)
	f(`{exposure: {type: LVS}}`, `exposure LVS needs an address: set exposure.vip`)
	f(`{exposure: {vip: 10.9.0.10}}`, `exposure.vip is for LVS alone: set type LVS, or remove vip`)
	f(`{exposure: {type: LVS, vip: edge.example}}`, `vip must be an IP address in its usual form that hosts can reach`)
	f(`{exposure: {type: LVS, vip: 127.0.0.1}}`, `vip must be an IP address in its usual form that hosts can reach`)
	f(`{exposure: {type: LVS, vip: "fd00:0:0::1"}}`, `write one such as 10.9.0.10 or fd00::10`)
	f(`{exposure: {type: LVS, vip: 10.9.0.10, scheduler: rr}}`, `spec.exposure.scheduler: Unsupported value: "rr"`)
	f(`{exposure: {type: LVS, vip: 10.9.0.10, mode: FullNAT}}`, `spec.exposure.mode: Unsupported value: "FullNAT"`)
}

// TestFleetsThatAreFineAreTaken has the edges of what is refused above.
func TestFleetsThatAreFineAreTaken(t *testing.T) {
	k := newKind(t, "gridrouters")
	f := func(change string) {
		t.Helper()
		if got := lines(k.admit(changed(t, fleet, change))); got != "" {
			t.Errorf("%s is refused by\n%s", change, got)
		}
	}
	f(`{}`)
	f(`{image: gridrouter, gslb: {servers: ["10.96.0.53:53"]}, resources: {}, placement: {zones: spread, nodeSelector: {}, tolerations: [], priorityClass: ""}, args: [], paused: false, cluster: ""}`)
	f(`{replicas: 0}`)
	f(`{version: v1.4.0-rc.1_x, image: "registry.example:5000/team/gridrouter"}`)
	f(`{replicas: null, autoscaling: {min: 2, max: 2, requestsPerSecond: 5000}}`)
	f(`{replicas: null, autoscaling: {max: 12, cpuPercent: 60}, resources: {requests: {cpu: 1}}}`)
	f(`{replicas: null, autoscaling: {max: 12, cpuPercent: 60}, resources: {limits: {cpu: 500m}}}`)
	f(`{etcd: {endpoints: ["https://[fd00::1]:2379", "http://etcd-0.etcd.grid.svc:2379/"], secret: etcd.login}}`)
	f(`{prefix: /teams/edge/}`)
	f(`{listeners: [{name: http, port: 80}, {name: https, port: 443, tlsSecret: edge.example}]}`)
	f(`{gslb: {servers: [10.96.0.53, "10.96.0.53:53", "fd00::53", "[fd00::53]:53"]}}`)
	f(`{args: ["--log-level=debug", "--access-log=off", "--trusted-proxies=10.0.0.0/8,fd00::/8", "--dns-timeout=1s"]}`)
	f(`{resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1000m, memory: 1024Mi}}}`)
	f(`{access: {namespaces: {}, cidrs: [10.9.0.0/16, "fd00::/8"]}}`)
	f(`{access: {namespaces: {matchExpressions: [{key: zone, operator: In, values: [a]}, {key: zone, operator: Exists}]}}}`)
	f(`{disruption: {maxUnavailable: "100%"}}`)
	f(`{rollout: {maxSurge: 0, maxUnavailable: "1%"}}`)
	f(`{rollout: {strategy: Canary, canary: {steps: [{percent: 1, hold: 0s}, {percent: 100, hold: 24h}], analysis: {maxErrorPercent: 0.1, maxP99Ratio: 1, minRequests: 0}}}}`)
	f(`{drain: {delay: 0s, timeout: 0s}}`)
	f(`{drain: {delay: 1m30s, timeout: 58.5m}}`)
	f(`{exposure: {type: LoadBalancer}}`)
	f(`{exposure: {type: LVS, vip: "fd00::10", scheduler: mh, mode: TUN}}`)
}
