// Package cri is a container runtime as the kubelet knows them (the Container Runtime Interface,
// over a Unix socket), whose containers are plain processes of this machine: each in namespaces
// of its own, with a program or a folder of this machine as its image.
package cri

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"gridrouter.io/deploy/testbed/images"
	"gridrouter.io/deploy/testbed/network"
)

// Options are what a runtime needs. All fields but Pretend must be set.
type Options struct {
	// Folder is the runtime's own; the socket is made in it, so its path must be short.
	Folder  string
	Images  *images.Map
	Network *network.Network
	// Pretend says that containers run only in name: they have addresses and statuses, and no
	// processes.
	Pretend bool
}

// Runtime holds the pods of one node. Its methods may be called at once.
type Runtime struct {
	v1.UnimplementedRuntimeServiceServer

	options Options
	server  *grpc.Server
	streams *streams

	mu         sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*containerState
}

// Start makes a runtime that listens at Socket.
func Start(options Options) (*Runtime, error) {
	r := &Runtime{
		options:    options,
		server:     grpc.NewServer(),
		sandboxes:  map[string]*sandbox{},
		containers: map[string]*containerState{},
	}
	var err error
	if r.streams, err = newStreams(r); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(options.Folder, "roots"), 0o700); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", r.Socket())
	if err != nil {
		return nil, err
	}
	v1.RegisterRuntimeServiceServer(r.server, r)
	v1.RegisterImageServiceServer(r.server, &imageService{images: options.Images, folder: options.Folder})
	go func() { _ = r.server.Serve(listener) }() // it ends with Stop
	return r, nil
}

// Socket is the path that the kubelet is given.
func (r *Runtime) Socket() string { return filepath.Join(r.options.Folder, "cri.sock") }

// Stop kills all containers and stops to listen. It returns when no container runs any more.
func (r *Runtime) Stop() {
	r.server.Stop()
	_ = r.streams.http.Close()
	r.KillAll()
}

// KillAll kills all containers, as a node does whose power fails.
func (r *Runtime) KillAll() {
	r.mu.Lock()
	all := make([]*containerState, 0, len(r.containers))
	for _, c := range r.containers {
		all = append(all, c)
	}
	r.mu.Unlock()
	for _, c := range all {
		c.stop(context.Background(), 0)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sandboxes {
		r.disconnect(s)
	}
}

// Version tells the kubelet which runtime this is.
func (r *Runtime) Version(context.Context, *v1.VersionRequest) (*v1.VersionResponse, error) {
	return &v1.VersionResponse{Version: "0.1.0", RuntimeName: "testbed", RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1"}, nil
}

// Status says that all is well.
func (r *Runtime) Status(context.Context, *v1.StatusRequest) (*v1.StatusResponse, error) {
	return &v1.StatusResponse{Status: &v1.RuntimeStatus{Conditions: []*v1.RuntimeCondition{
		{Type: v1.RuntimeReady, Status: true},
		{Type: v1.NetworkReady, Status: true},
	}}}, nil
}

// UpdateRuntimeConfig takes the node's range of pod addresses, which is of no concern here: all
// nodes share one network.
func (r *Runtime) UpdateRuntimeConfig(context.Context, *v1.UpdateRuntimeConfigRequest) (*v1.UpdateRuntimeConfigResponse, error) {
	return &v1.UpdateRuntimeConfigResponse{}, nil
}

// newID gives a name that no other sandbox or container has.
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
}

// selected says whether labels have all that a selector asks for.
func selected(labels, selector map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}
