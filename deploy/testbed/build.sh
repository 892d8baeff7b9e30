#!/usr/bin/env bash
# Builds the testbed into bin/testbed of the project. Its large part, Kubernetes itself, is built
# once for its sources and kept in a cache outside of the tree:
# ${XDG_CACHE_HOME:-$HOME/.cache}/gridrouter/testbed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

go=${GO:-go}
out=$(cd ../.. && pwd)/bin/testbed
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gridrouter/testbed
key=$({ "$go" env GOVERSION GOARCH; cat go.mod go.sum build.sh cmd/kubernetes/*.go; } | sha256sum | cut -c1-16)
kubernetes=$cache/$key/kubernetes
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false
mkdir -p "$out"

if [ ! -x "$kubernetes" ]; then
	# The version that go.mod names is what clients are told.
	version=$(awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ { print $2 }' go.mod)
	minor=$(cut -d. -f2 <<<"$version")
	flags="-s -w"
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
	done
	echo "building Kubernetes $version, once for this machine: 5 to 15 minutes on 2 cores if nothing of it was"
	echo "compiled yet, and about 3 GB of memory at its end"
	mkdir -p "$cache/$key"
	begin=$SECONDS
	total=$("$go" list -deps ./cmd/kubernetes | wc -l)
	# Compilers with more memory take less time. The packages are named as they begin.
	GOGC=400 "$go" build -v -trimpath -ldflags "$flags" -o "$kubernetes.new" ./cmd/kubernetes 2>&1 |
		awk -v total="$total" '!/^[a-zA-Z0-9._\/~-]+$/ { print } NR % 100 == 0 { printf "  %d of at most %d packages\n", NR, total; fflush() }'
	mv "$kubernetes.new" "$kubernetes"
	echo "built in $((SECONDS - begin)) s: $(du -h "$kubernetes" | cut -f1) in $kubernetes"
	find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime +30 -exec rm -rf {} +
fi
touch "$cache/$key"
ln -sfn "$kubernetes" "$out/kubernetes"
# Where tests with an API server alone look for it: KUBEBUILDER_ASSETS=bin/testbed/assets
mkdir -p "$out/assets"
for name in etcd kube-apiserver kubectl; do ln -sfn "$kubernetes" "$out/assets/$name"; done

"$go" build -trimpath -o "$out/testbed" ./cmd/testbed
for version in v1 v2; do "$go" build -trimpath -ldflags "-X main.version=$version" -o "$out/echo-$version" ./cmd/echo; done
bash etcd/build.sh
