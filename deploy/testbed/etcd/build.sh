#!/usr/bin/env bash
# Builds the images of etcd that tests deploy into bin/testbed/etcd of the project, one for each folder here, which
# is named after a minor version and says in its go.mod which release of that it is. Each is built once for its
# sources and kept in the testbed's cache, beside Kubernetes. This is not a part of ../build.sh, so that a change
# here does not build Kubernetes anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

go=${GO:-go}
out=$(cd ../../.. && pwd)/bin/testbed/etcd
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gridrouter/testbed
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false
mkdir -p "$out"

# image FOLDER VERSION makes what an image of etcd's own has in it, but etcdctl and etcdutl: there is no shell.
image() {
	mkdir -p "$1/rootfs/usr/local/bin" "$1/rootfs/var/lib/etcd" "$1/rootfs/tmp"
	chmod 1777 "$1/rootfs/tmp"
	cat >"$1/config.json" <<-JSON
		{"architecture": "$("$go" env GOARCH)", "os": "linux",
		 "config": {"Entrypoint": ["/usr/local/bin/etcd"], "WorkingDir": "/var/lib/etcd",
		  "Labels": {"org.opencontainers.image.title": "etcd", "org.opencontainers.image.version": "$2"}}}
	JSON
	"$go" build -trimpath -ldflags "-s -w" -o "$1/rootfs/usr/local/bin/etcd" .
}

wanted=()
for minor in */; do
	cd "$minor"
	version=$(awk '/go\.etcd\.io\/etcd\/server\/v3 / { print $NF; exit }' go.mod)
	key=etcd-$version-$({ "$go" env GOVERSION GOARCH; cat go.mod go.sum ./*.go ../build.sh; } | sha256sum | cut -c1-16)
	if [ ! -d "$cache/$key" ]; then
		echo "building etcd $version, once for this machine: about a minute if nothing of it was compiled yet"
		begin=$SECONDS
		rm -rf "$cache/$key.new"
		image "$cache/$key.new" "$version"
		mv "$cache/$key.new" "$cache/$key"
		echo "built in $((SECONDS - begin)) s: $(du -sh "$cache/$key" | cut -f1) in $cache/$key"
	fi
	touch "$cache/$key"
	ln -sfn "$cache/$key" "$out/$version"
	wanted+=("$version")
	cd ..
done
for link in "$out"/*; do
	[[ " ${wanted[*]} " == *" ${link##*/} "* ]] || rm "$link"
done
