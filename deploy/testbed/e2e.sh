#!/usr/bin/env bash
# The tests of the testbed: its packages, its life from outside, and a suite that runs inside of
# one. --long, first, tries all where otherwise a part is tried. The other arguments are those of the suite's
# test binary, say -test.run=TestADrain.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [ "$(uname)" != Linux ] || [ "$(id -u)" != 0 ]; then
	echo "skipped: the tests with Kubernetes make network namespaces and mounts, which needs Linux and root"
	exit 0
fi
if ! unshare --net --pid --mount --fork true; then
	echo "skipped: root may make no namespaces here, as in a container without rights; start it with --privileged, or on a machine"
	exit 0
fi
short=-short
if [ "${1:-}" = --long ]; then
	short=
	shift
fi
bash build.sh
go=${GO:-go}
top=$(cd ../.. && pwd)
out=$top/bin/testbed
# What the tests deploy and run: the production image's root, and the tools of the same commit.
export VERSION=${VERSION:-dev}
make -C "$top" VERSION="$VERSION" image-root
mapfile -t images < <(bash images.sh)
# Where tests find the tools, and which tag of gridrouter is this commit's.
export GRIDROUTER_BIN=$top/bin GRIDROUTER_VERSION=$VERSION
# As build.sh compiles it, so that nothing is compiled twice.
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath"

# suite TEST-BINARY TESTBED-ARGUMENTS... [-- TEST-ARGUMENTS...] runs tests in a testbed of their own. Those that
# fail, up to three, run again in a fresh one where TEST_AGAIN is set (docs/adr/0023).
suite() {
	local binary=$1 log failed bed=()
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do bed+=("$1"); shift; done
	[ $# = 0 ] || shift
	log=$(mktemp)
	if "$out/testbed" run "${bed[@]}" "${images[@]}" -- "$binary" -test.v -test.timeout=20m "$@" 2>&1 | tee "$log"; then
		rm -f "$log"
		return 0
	fi
	mapfile -t failed < <(sed -nE 's/^--- FAIL: (Test[A-Za-z0-9_]+) .*/\1/p' "$log")
	if [ "${TEST_AGAIN:-0}" = 0 ] || [ ${#failed[@]} = 0 ] || [ ${#failed[@]} -gt 3 ] || grep -qE '^(WARNING: DATA RACE|panic: )' "$log"; then
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
	echo "== once more, alone: ${failed[*]}"
	"$out/testbed" run "${bed[@]}" "${images[@]}" -- "$binary" -test.v -test.timeout=20m "-test.run=^($(IFS='|'; echo "${failed[*]}"))\$" || return 1
	echo "UNSTABLE: ${failed[*]} failed beside others and passed alone: a fault of the test or of what it tries, to be mended first"
}

echo "== packages of the testbed"
"$go" vet ./cmd/kubernetes # the linters leave it out, since it has all of Kubernetes below it
"$go" test -shuffle=on -timeout 5m $("$go" list ./... | grep -vE '/(bed|e2e|cmd/kubernetes)$')
echo "== a testbed leaves nothing behind"
GRIDROUTER_TESTBED_BINARY=$out/testbed "$go" test -count=1 -shuffle=on -timeout 10m -v ./bed
echo "== the kinds, refused and taken by a real API server"
(cd ../.. && "$go" test -c -o "$out/kinds.test" ./deploy/api/v1alpha1)
(cd ../api/v1alpha1 && GRIDROUTER_TESTBED_KUBECTL=$out/assets/kubectl "$out/testbed" run --nodes=0 -- bash -c '
	"$GRIDROUTER_TESTBED_KUBECTL" create -f ../../manifests/crds
	"$GRIDROUTER_TESTBED_KUBECTL" wait --for=condition=Established --timeout=1m -f ../../manifests/crds
	"$GRIDROUTER_TESTBED_KUBECTL" create namespace grid
	exec "$0" -test.v -test.timeout=10m' "$out/kinds.test")
echo "== locks in Leases of a real API server"
tests() { (cd ../.. && GO=$go KUBEBUILDER_ASSETS=$out/assets "$go" run ./.ci/tests "-again=${TEST_AGAIN:-0}" -- "$@"); }
tests -count=1 -timeout=10m ./deploy/locks/leaselock
echo "== the operator's parts beside a real API server"
# Without -trimpath: they find the CRDs by the paths of their sources.
CGO_ENABLED=1 GOFLAGS=-buildvcs=false tests $short -race -count=1 -p=1 -timeout=20m ./deploy/services ./deploy/manifests ./deploy/operator ./deploy/operator/fleet/... ./deploy/operator/etcd
echo "== the operator as it is installed"
(cd ../.. && "$go" test -c -o "$out/operator.test" ./deploy/operator/e2e)
suite "$out/operator.test" --nodes=3 -- ${short:+-test.short}
echo "== in a testbed"
"$go" test -c -o "$out/e2e.test" ./e2e
suite "$out/e2e.test" --nodes=3 --pretend-nodes=1 -- "$@"
