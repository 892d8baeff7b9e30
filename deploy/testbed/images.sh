#!/usr/bin/env bash
# Prints the flags, one a line, by which a testbed knows the images of this project:
#
#   gridrouter:VERSION, gridrouter:v1, gridrouter:v2   the production image's root, all the same
#   etcd, kubectl                                      Kubernetes' own
#   echo:v1, echo:v2                                   the test server
#
# Any other tag of gridrouter cannot be pulled. VERSION is what make image-root was given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=${VERSION:?set VERSION, as make does}
for tag in "$version" v1 v2; do echo "--image=gridrouter:$tag=$PWD/bin/image/$version"; done
for name in etcd kubectl; do echo "--image=$name=$PWD/bin/testbed/assets/$name"; done
for tag in v1 v2; do echo "--image=echo:$tag=$PWD/bin/testbed/echo-$tag"; done
