package cri

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"gridrouter.io/deploy/testbed/network"
)

// sandbox is what the containers of a pod share.
type sandbox struct {
	id      string
	config  *v1.PodSandboxConfig
	created time.Time
	pod     *network.Pod // nil for a pod in the node's network, and when stopped
	stopped bool
}

// RunPodSandbox makes a pod's network.
func (r *Runtime) RunPodSandbox(_ context.Context, request *v1.RunPodSandboxRequest) (*v1.RunPodSandboxResponse, error) {
	s := &sandbox{id: newID(), config: request.GetConfig(), created: time.Now()}
	if networkOf(s.config) != v1.NamespaceMode_NODE {
		pod, err := r.addPod(s.config.GetLinux().GetSysctls())
		if err != nil {
			return nil, err
		}
		s.pod = pod
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandboxes[s.id] = s
	return &v1.RunPodSandboxResponse{PodSandboxId: s.id}, nil
}

func (r *Runtime) addPod(sysctls map[string]string) (*network.Pod, error) {
	if r.options.Pretend {
		return r.options.Network.Reserve()
	}
	return r.options.Network.AddPod(sysctls)
}

// StopPodSandbox kills the pod's containers and takes its network away.
func (r *Runtime) StopPodSandbox(ctx context.Context, request *v1.StopPodSandboxRequest) (*v1.StopPodSandboxResponse, error) {
	for _, c := range r.containersOf(request.GetPodSandboxId()) {
		c.stop(ctx, 0)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sandboxes[request.GetPodSandboxId()]; s != nil {
		r.disconnect(s)
	}
	return &v1.StopPodSandboxResponse{}, nil
}

// disconnect takes a pod's network away; r.mu must be held.
func (r *Runtime) disconnect(s *sandbox) {
	s.stopped = true
	if s.pod != nil {
		r.options.Network.Remove(s.pod)
		s.pod = nil
	}
}

// RemovePodSandbox forgets a pod with its containers.
func (r *Runtime) RemovePodSandbox(ctx context.Context, request *v1.RemovePodSandboxRequest) (*v1.RemovePodSandboxResponse, error) {
	if _, err := r.StopPodSandbox(ctx, &v1.StopPodSandboxRequest{PodSandboxId: request.GetPodSandboxId()}); err != nil {
		return nil, err
	}
	for _, c := range r.containersOf(request.GetPodSandboxId()) {
		r.forget(c)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sandboxes, request.GetPodSandboxId())
	return &v1.RemovePodSandboxResponse{}, nil
}

// PodSandboxStatus tells a pod's state and address.
func (r *Runtime) PodSandboxStatus(_ context.Context, request *v1.PodSandboxStatusRequest) (*v1.PodSandboxStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[request.GetPodSandboxId()]
	if s == nil {
		return nil, status.Errorf(codes.NotFound, "no sandbox %s", request.GetPodSandboxId())
	}
	answer := &v1.PodSandboxStatus{
		Id:          s.id,
		Metadata:    s.config.GetMetadata(),
		State:       s.state(),
		CreatedAt:   s.created.UnixNano(),
		Network:     &v1.PodSandboxNetworkStatus{},
		Linux:       &v1.LinuxPodSandboxStatus{Namespaces: &v1.Namespace{Options: s.config.GetLinux().GetSecurityContext().GetNamespaceOptions()}},
		Labels:      s.config.GetLabels(),
		Annotations: s.config.GetAnnotations(),
	}
	if s.pod != nil {
		answer.Network.Ip = s.pod.Address.String()
	}
	return &v1.PodSandboxStatusResponse{Status: answer}, nil
}

// ListPodSandbox lists the pods that a filter lets through.
func (r *Runtime) ListPodSandbox(_ context.Context, request *v1.ListPodSandboxRequest) (*v1.ListPodSandboxResponse, error) {
	filter := request.GetFilter()
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := &v1.ListPodSandboxResponse{}
	for _, s := range r.sandboxes {
		if filter.GetId() != "" && filter.GetId() != s.id ||
			filter.GetState() != nil && filter.GetState().GetState() != s.state() ||
			!selected(s.config.GetLabels(), filter.GetLabelSelector()) {
			continue
		}
		answer.Items = append(answer.Items, &v1.PodSandbox{
			Id:          s.id,
			Metadata:    s.config.GetMetadata(),
			State:       s.state(),
			CreatedAt:   s.created.UnixNano(),
			Labels:      s.config.GetLabels(),
			Annotations: s.config.GetAnnotations(),
		})
	}
	return answer, nil
}

func (s *sandbox) state() v1.PodSandboxState {
	if s.stopped {
		return v1.PodSandboxState_SANDBOX_NOTREADY
	}
	return v1.PodSandboxState_SANDBOX_READY
}

func networkOf(config *v1.PodSandboxConfig) v1.NamespaceMode {
	return config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork()
}
