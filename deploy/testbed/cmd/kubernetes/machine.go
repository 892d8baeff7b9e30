package main

import (
	"context"
	"errors"

	"github.com/google/cadvisor/lib/model"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
	"k8s.io/kubernetes/pkg/kubelet/cm"
)

// quantity is a Kubernetes quantity as a flag.
type quantity struct{ resource.Quantity }

// Set reads the flag's value.
func (q *quantity) Set(text string) (err error) {
	q.Quantity, err = resource.ParseQuantity(text)
	return err
}

// Type names the flag's kind in its help.
func (q *quantity) Type() string { return "quantity" }

// machine stands in for cAdvisor: it tells the kubelet how large the node is, and measures
// nothing. It never changes, so any number of goroutines may ask it.
type machine struct {
	cores  int
	memory quantity
}

var _ cadvisor.Interface = (*machine)(nil)

// disk is the size of the node's disk, which nothing counts against.
const disk = 500 << 30

// errNotMeasured is the answer to what only a measuring cAdvisor could tell.
var errNotMeasured = errors.New("the testbed measures no containers")

// Start starts nothing.
func (m *machine) Start() error { return nil }

// MachineInfo gives the node's size.
func (m *machine) MachineInfo(klog.Logger) (*model.MachineInfo, error) {
	return &model.MachineInfo{
		NumCores:         m.cores,
		NumPhysicalCores: m.cores,
		NumSockets:       1,
		MemoryCapacity:   uint64(m.memory.Value()),
	}, nil
}

// VersionInfo tells what the node runs.
func (m *machine) VersionInfo() (*model.VersionInfo, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, err
	}
	return &model.VersionInfo{KernelVersion: unix.ByteSliceToString(name.Release[:]), ContainerOsVersion: "gridrouter testbed"}, nil
}

// ContainerInfoV2 knows no container.
func (m *machine) ContainerInfoV2(string, model.RequestOptions) (map[string]model.ContainerInfo, error) {
	return nil, errNotMeasured
}

// GetRequestedContainersInfo knows no container.
func (m *machine) GetRequestedContainersInfo(string, model.RequestOptions) (map[string]*model.ContainerInfo, error) {
	return nil, errNotMeasured
}

// ImagesFsInfo gives a disk that never fills.
func (m *machine) ImagesFsInfo(context.Context) (model.FsInfo, error) { return emptyDisk(), nil }

// RootFsInfo gives a disk that never fills.
func (m *machine) RootFsInfo() (model.FsInfo, error) { return emptyDisk(), nil }

// ContainerFsInfo gives a disk that never fills.
func (m *machine) ContainerFsInfo(context.Context) (model.FsInfo, error) { return emptyDisk(), nil }

// GetDirFsInfo gives a disk that never fills.
func (m *machine) GetDirFsInfo(string) (model.FsInfo, error) { return emptyDisk(), nil }

func emptyDisk() model.FsInfo {
	inodes := uint64(1 << 20)
	return model.FsInfo{Device: "testbed", Capacity: disk, Available: disk, Inodes: &inodes, InodesFree: &inodes}
}

// containers is a container manager that manages no cgroups; it only tells the size of the disk.
type containers struct{ cm.ContainerManager }

// GetCapacity gives what the machine does not tell.
func (containers) GetCapacity(klog.Logger, bool) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceEphemeralStorage: *resource.NewQuantity(disk, resource.BinarySI)}
}
