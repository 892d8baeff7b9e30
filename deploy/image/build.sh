#!/usr/bin/env bash
# Builds the image gridrouter:VERSION with the container engine that is here: docker, podman or
# buildah. Where there is none, root on Debian gets buildah from Debian's packages. Nothing else is
# fetched, and no registry is asked. ENGINE=podman chooses one.
#
# The image is left in the engine's store, and in bin/image/VERSION/image.tar, which
# `docker load`, `podman load` and `ctr images import` take. At last a test holds it against its root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

works() {
	case $1 in
	docker) docker version >/dev/null 2>&1 ;; # a client without its daemon builds nothing
	*) command -v "$1" >/dev/null ;;
	esac
}

choose() {
	local engine
	for engine in docker podman buildah; do
		if works "$engine"; then
			echo "$engine"
			return
		fi
	done
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "there is no container engine: install docker, podman or buildah (as root on Debian: apt-get install buildah)" >&2
		return 1
	fi
	echo "there is no container engine: installing buildah" >&2
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends buildah; } >/dev/null || {
		echo "buildah could not be installed: apt-get install buildah says why" >&2
		return 1
	}
	echo buildah
}

# Where the kernel has no overlay file system for them, as within containers, podman and buildah
# copy whole folders, which for an image of one layer costs nothing.
choose_storage() {
	if [ -z "${STORAGE_DRIVER:-}" ] && ! "$1" info >/dev/null 2>&1; then
		export STORAGE_DRIVER=vfs
		"$1" info >/dev/null # which says what is wrong if that was not it
	fi
}

version=${VERSION:?set VERSION, as make image does}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
out=$(bash deploy/image/root.sh)
tag=gridrouter:$version
engine=${ENGINE:-$(choose)}
label() { sed -n "s/.*\"org.opencontainers.image.$1\": \"\([^\"]*\)\".*/\1/p" "$out/config.json"; }
# No cache: podman's gave the labels of another version to the same root.
# The folder is all that the engine is shown, and so all that can get into the image.
arguments=(--no-cache -f deploy/manifests/Dockerfile -t "$tag" --build-arg ROOT=rootfs.tar
	--build-arg VERSION="$version" --build-arg REVISION="$(label revision)" --build-arg CREATED="$(label created)")
echo "building $tag with $engine"
case $engine in
docker)
	SOURCE_DATE_EPOCH=$epoch docker build --network=none "${arguments[@]}" "$out"
	docker save -o "$out/image.tar" "$tag"
	;;
podman)
	choose_storage podman
	podman build --isolation=chroot --timestamp="$epoch" "${arguments[@]}" "$out"
	podman save --format=docker-archive -o "$out/image.tar" "$tag"
	;;
buildah)
	choose_storage buildah
	buildah build --isolation=chroot --timestamp="$epoch" "${arguments[@]}" "$out"
	buildah push -q "$tag" "docker-archive:$PWD/$out/image.tar:$tag"
	;;
*)
	echo "ENGINE=$engine: choose docker, podman or buildah" >&2
	exit 1
	;;
esac
GRIDROUTER_IMAGE=$PWD/$out ${GO:-go} test -count=1 ./deploy/image
echo "$tag: $(du -h "$out/image.tar" | cut -f1) in $out/image.tar"
