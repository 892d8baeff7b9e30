// Command etcd is the etcd server of the minor version 3.7 as its own project starts it, for the testbed's images.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
