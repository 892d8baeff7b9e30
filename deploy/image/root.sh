#!/usr/bin/env bash
# Puts the image's root together from bin/gridrouter, or from PROGRAM, without any container engine:
#
#   bin/image/VERSION/rootfs.tar    what the image has in it, byte for byte
#   bin/image/VERSION/config.json   its configuration: user, program, environment, labels
#   bin/image/VERSION/rootfs        the same as a folder, for the testbed; its owners are right if root made it
#
# The same commit and Go version give the same bytes: the times are those of the commit, or of
# SOURCE_DATE_EPOCH. It prints the folder's path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=${VERSION:?set VERSION, as make image does}
if ! [[ $version =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]]; then
	echo "VERSION=$version is no tag of an image: letters, digits, and _ . - within, at most 128 of them" >&2
	exit 1
fi
program=${PROGRAM:-bin/gridrouter}
if [ ! -x "$program" ]; then
	echo "$program is not there: make build" >&2
	exit 1
fi
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
user=65532
out=bin/image/$version
rm -rf "$out"
mkdir -p "$out"

# Modes are set here, so that nobody's umask is in the image.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install -m 0755 "$program" "$work/gridrouter"
mkdir -p "$work/var/lib/gridrouter"
chmod 0755 "$work/var" "$work/var/lib"
chmod 0750 "$work/var/lib/gridrouter"
# Two calls, since the folder of the router's state belongs to its user, and all else to root.
pack() { tar --format=gnu --mtime="@$epoch" --numeric-owner --no-recursion -C "$work" -f "$out/rootfs.tar" "$@"; }
pack --owner=0 --group=0 -c gridrouter var var/lib
pack --owner=$user --group=$user -r var/lib/gridrouter
mkdir "$out/rootfs"
tar -xf "$out/rootfs.tar" -C "$out/rootfs" --numeric-owner -p

cat >"$out/config.json" <<END
{
  "created": "$created",
  "architecture": "$(${GO:-go} env GOARCH)",
  "os": "linux",
  "config": {
    "User": "$user:$user",
    "ExposedPorts": {"8080/tcp": {}, "9902/tcp": {}},
    "Entrypoint": ["/gridrouter"],
    "Cmd": ["serve"],
    "Labels": {
      "org.opencontainers.image.title": "gridrouter",
      "org.opencontainers.image.description": "An HTTP router for decks",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.version": "$version",
      "org.opencontainers.image.revision": "$revision",
      "org.opencontainers.image.created": "$created"
    }
  }
}
END
echo "$out"
