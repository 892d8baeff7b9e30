#!/usr/bin/env bash
# Prints the flags, one a line, by which a testbed knows the images of this project:
#
#   gridrouter:VERSION, gridrouter:other   the production image's root, for the operator
#   gridrouter:v1, gridrouter:v2           that of the slim image, for fleets
#   etcd, kubectl                          Kubernetes' own; of etcd, any tag but those below
#   etcd:v3.6.16, etcd:v3.7.3 ...          etcd as its own images have it, one release of each minor version
#   echo:v1, echo:v2                       the test server
#
# Any other tag of gridrouter cannot be pulled. VERSION is what make image-root was given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=${VERSION:?set VERSION, as make does}
for tag in "$version" other; do echo "--image=gridrouter:$tag=$PWD/bin/image/$version"; done
for tag in v1 v2; do echo "--image=gridrouter:$tag=$PWD/bin/image/$version-slim"; done
for name in etcd kubectl; do echo "--image=$name=$PWD/bin/testbed/assets/$name"; done
for tag in v1 v2; do echo "--image=echo:$tag=$PWD/bin/testbed/echo-$tag"; done
for image in "$PWD"/bin/testbed/etcd/v*; do echo "--image=etcd:${image##*/}=$image"; done
