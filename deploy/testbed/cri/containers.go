package cri

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var errNoContainer = status.Error(codes.NotFound, "no such container")

// CreateContainer makes a container that does not run yet.
func (r *Runtime) CreateContainer(_ context.Context, request *v1.CreateContainerRequest) (*v1.CreateContainerResponse, error) {
	image, found := r.options.Images.Find(request.GetConfig().GetImage().GetUserSpecifiedImage())
	if !found {
		image, found = r.options.Images.Find(request.GetConfig().GetImage().GetImage())
	}
	if !found {
		return nil, status.Errorf(codes.NotFound, "image %q is not mapped", request.GetConfig().GetImage().GetImage())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[request.GetPodSandboxId()]
	if s == nil {
		return nil, status.Errorf(codes.NotFound, "no sandbox %s", request.GetPodSandboxId())
	}
	c := &containerState{
		id:      newID(),
		sandbox: s,
		config:  request.GetConfig(),
		image:   image,
		created: time.Now(),
		ended:   make(chan struct{}),
	}
	c.folder = filepath.Join(r.options.Folder, "roots", c.id)
	if err := os.Mkdir(c.folder, 0o700); err != nil {
		return nil, err
	}
	r.containers[c.id] = c
	return &v1.CreateContainerResponse{ContainerId: c.id}, nil
}

// StartContainer returns when the container's program runs, or with the reason why it cannot.
func (r *Runtime) StartContainer(_ context.Context, request *v1.StartContainerRequest) (*v1.StartContainerResponse, error) {
	c := r.container(request.GetContainerId())
	if c == nil {
		return nil, errNoContainer
	}
	if r.options.Pretend {
		c.pretend()
		return &v1.StartContainerResponse{}, nil
	}
	r.mu.Lock()
	pod := c.sandbox.pod
	stopped := c.sandbox.stopped
	r.mu.Unlock()
	if stopped {
		return nil, status.Error(codes.FailedPrecondition, "the pod's sandbox is stopped")
	}
	var file *os.File
	if pod != nil {
		file = pod.Namespace
	}
	if err := c.start(file); err != nil {
		return nil, err
	}
	return &v1.StartContainerResponse{}, nil
}

// StopContainer asks the program to end, waits as long as it is told, and then kills it.
func (r *Runtime) StopContainer(ctx context.Context, request *v1.StopContainerRequest) (*v1.StopContainerResponse, error) {
	if c := r.container(request.GetContainerId()); c != nil {
		c.stop(ctx, time.Duration(request.GetTimeout())*time.Second)
	}
	return &v1.StopContainerResponse{}, nil
}

// RemoveContainer kills a container if it runs, and forgets it.
func (r *Runtime) RemoveContainer(ctx context.Context, request *v1.RemoveContainerRequest) (*v1.RemoveContainerResponse, error) {
	if c := r.container(request.GetContainerId()); c != nil {
		c.stop(ctx, 0)
		r.forget(c)
	}
	return &v1.RemoveContainerResponse{}, nil
}

// ListContainers lists the containers that a filter lets through.
func (r *Runtime) ListContainers(_ context.Context, request *v1.ListContainersRequest) (*v1.ListContainersResponse, error) {
	filter := request.GetFilter()
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := &v1.ListContainersResponse{}
	for _, c := range r.containers {
		if filter.GetId() != "" && filter.GetId() != c.id ||
			filter.GetPodSandboxId() != "" && filter.GetPodSandboxId() != c.sandbox.id ||
			filter.GetState() != nil && filter.GetState().GetState() != c.status().State ||
			!selected(c.config.GetLabels(), filter.GetLabelSelector()) {
			continue
		}
		answer.Containers = append(answer.Containers, &v1.Container{
			Id:           c.id,
			PodSandboxId: c.sandbox.id,
			Metadata:     c.config.GetMetadata(),
			Image:        c.imageSpec(),
			ImageRef:     imageID(c.image),
			ImageId:      imageID(c.image),
			State:        c.status().State,
			CreatedAt:    c.created.UnixNano(),
			Labels:       c.config.GetLabels(),
			Annotations:  c.config.GetAnnotations(),
		})
	}
	return answer, nil
}

// ContainerStatus tells all of one container.
func (r *Runtime) ContainerStatus(_ context.Context, request *v1.ContainerStatusRequest) (*v1.ContainerStatusResponse, error) {
	c := r.container(request.GetContainerId())
	if c == nil {
		return nil, errNoContainer
	}
	return &v1.ContainerStatusResponse{Status: c.status()}, nil
}

// UpdateContainerResources accepts any limit: none is enforced.
func (r *Runtime) UpdateContainerResources(context.Context, *v1.UpdateContainerResourcesRequest) (*v1.UpdateContainerResourcesResponse, error) {
	return &v1.UpdateContainerResourcesResponse{}, nil
}

// ReopenContainerLog goes on in a new file after the old one was moved away.
func (r *Runtime) ReopenContainerLog(_ context.Context, request *v1.ReopenContainerLogRequest) (*v1.ReopenContainerLogResponse, error) {
	c := r.container(request.GetContainerId())
	if c == nil {
		return nil, errNoContainer
	}
	c.mu.Lock()
	log := c.log
	c.mu.Unlock()
	if log == nil {
		return &v1.ReopenContainerLogResponse{}, nil
	}
	return &v1.ReopenContainerLogResponse{}, log.reopen()
}

func (r *Runtime) container(id string) *containerState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.containers[id]
}

func (r *Runtime) containersOf(sandbox string) []*containerState {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*containerState
	for _, c := range r.containers {
		if c.sandbox.id == sandbox {
			all = append(all, c)
		}
	}
	return all
}

// forget removes a container that has ended.
func (r *Runtime) forget(c *containerState) {
	_ = os.Remove(c.folder)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.containers, c.id)
}
