package v1alpha1_test

import "testing"

// connection is a ClusterConnection that is fine; the rows below change it.
const connection = `
apiVersion: gridrouter.io/v1alpha1
kind: ClusterConnection
metadata: {name: west, namespace: grid}
spec: {secretRef: {name: west}}
`

// TestAConnectionThatCannotBeIsRefused goes through what a ClusterConnection may say.
func TestAConnectionThatCannotBeIsRefused(t *testing.T) {
	k := newKind(t, "clusterconnections")
	f := refusals(t, k, connection)

	f(`{secretRef: null}`, `no cluster is named: set secretRef, or inCluster: true`)
	f(`{secretRef: null, inCluster: false}`, `no cluster is named`)
	f(`{inCluster: true}`, `secretRef and inCluster exclude each other: remove one of them`)
	f(`{secretRef: {name: null}}`, `spec.secretRef.name: Required value`)
	f(`{secretRef: {name: West_1}}`, `secretRef.name must be the name of a Secret`)
	f(`{secretRef: {key: "a/b"}}`, `secretRef.key must be a key of a Secret`)
	f(`{kubeconfig: "apiVersion: v1"}`, `spec.kubeconfig: Invalid value: null: unknown field`)

	for _, change := range []string{`{}`, `{secretRef: null, inCluster: true}`, `{secretRef: {key: config.yaml}}`} {
		if got := lines(k.admit(changed(t, connection, change))); got != "" {
			t.Errorf("%s is refused by\n%s", change, got)
		}
	}
}

// TestAConnectionSaysWhereTheKubeconfigIs fills in its defaults.
func TestAConnectionSaysWhereTheKubeconfigIs(t *testing.T) {
	k := newKind(t, "clusterconnections")
	got, want := decode(t, connection), changed(t, connection, `{secretRef: {key: kubeconfig}}`)
	if errs := lines(k.admit(got)); errs != "" {
		t.Fatal(errs)
	}
	same(t, got, want)
}
