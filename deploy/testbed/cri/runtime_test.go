package cri

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"gridrouter.io/deploy/testbed/container"
	"gridrouter.io/deploy/testbed/images"
)

// TestMain lets the test binary be a container, and the program in it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case container.Argument:
			_ = container.Become()
			os.Exit(127)
		case "say":
			os.Stdout.WriteString(os.Args[2] + "\n")
			os.Exit(5)
		case "wait":
			time.Sleep(time.Hour)
		}
	}
	os.Exit(m.Run())
}

// kubelet is what a kubelet has of a runtime: its socket. Pods are in the network of the test.
type kubelet struct {
	*testing.T
	ctx     context.Context
	runtime v1.RuntimeServiceClient
	images  v1.ImageServiceClient
	logs    string
	sandbox string
	program string
}

func newKubelet(t *testing.T) *kubelet {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root makes namespaces")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if images.Dynamic(self) {
		t.Skip("the test binary is its own image, so it must be built with CGO_ENABLED=0")
	}
	mapped := &images.Map{}
	if err := mapped.Add("tool=" + self); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("/tmp", "cri") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	runtime, err := Start(Options{Folder: folder, Images: mapped})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runtime.Stop)
	conn, err := grpc.NewClient("unix://"+runtime.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	k := &kubelet{T: t, ctx: t.Context(), runtime: v1.NewRuntimeServiceClient(conn), images: v1.NewImageServiceClient(conn), logs: t.TempDir(), program: "/" + filepath.Base(self)}
	made, err := k.runtime.RunPodSandbox(k.ctx, &v1.RunPodSandboxRequest{Config: k.config()})
	if err != nil {
		t.Fatal(err)
	}
	k.sandbox = made.GetPodSandboxId()
	return k
}

func (k *kubelet) config() *v1.PodSandboxConfig {
	return &v1.PodSandboxConfig{
		Hostname: "pod", LogDirectory: k.logs, Labels: map[string]string{"pod": "one"},
		Linux: &v1.LinuxPodSandboxConfig{SecurityContext: &v1.LinuxSandboxSecurityContext{NamespaceOptions: &v1.NamespaceOption{Network: v1.NamespaceMode_NODE}}},
	}
}

// start creates and starts a container.
func (k *kubelet) start(arguments ...string) (id string, err error) {
	k.Helper()
	made, err := k.runtime.CreateContainer(k.ctx, &v1.CreateContainerRequest{PodSandboxId: k.sandbox, SandboxConfig: k.config(), Config: &v1.ContainerConfig{
		Image: &v1.ImageSpec{Image: "tool:v1"}, Args: arguments, LogPath: "0.log", Labels: map[string]string{"name": "c"},
	}})
	if err != nil {
		k.Fatal(err)
	}
	_, err = k.runtime.StartContainer(k.ctx, &v1.StartContainerRequest{ContainerId: made.GetContainerId()})
	return made.GetContainerId(), err
}

// await waits until the container has ended.
func (k *kubelet) await(id string) *v1.ContainerStatus {
	k.Helper()
	for {
		answer, err := k.runtime.ContainerStatus(k.ctx, &v1.ContainerStatusRequest{ContainerId: id})
		if err != nil {
			k.Fatal(err)
		}
		if answer.GetStatus().GetState() == v1.ContainerState_CONTAINER_EXITED {
			return answer.GetStatus()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestAContainerThatEndsTellsItsStatusAndItsOutput(t *testing.T) {
	k := newKubelet(t)
	id, err := k.start("say", "a word")
	if err != nil {
		t.Fatal(err)
	}
	if s := k.await(id); s.GetExitCode() != 5 || s.GetReason() != "Error" || s.GetStartedAt() > s.GetFinishedAt() {
		t.Errorf("%+v", s)
	}
	if got := entries(t, filepath.Join(k.logs, "0.log")); len(got) != 1 || got[0] != "stdout F a word" {
		t.Errorf("the log has %q", got)
	}
}

func TestAContainerIsKilledWhenItsGraceIsOver(t *testing.T) {
	k := newKubelet(t)
	id, err := k.start("wait")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.runtime.StopContainer(k.ctx, &v1.StopContainerRequest{ContainerId: id, Timeout: 0}); err != nil {
		t.Fatal(err)
	}
	if s := k.await(id); s.GetExitCode() != 137 {
		t.Errorf("%+v", s)
	}
}

func TestAProgramRunsInAContainerOnceAndIsBounded(t *testing.T) {
	k := newKubelet(t)
	id, err := k.start("wait")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := k.runtime.ExecSync(k.ctx, &v1.ExecSyncRequest{ContainerId: id, Cmd: []string{k.program, "say", "within"}})
	if err != nil || answer.GetExitCode() != 5 || string(answer.GetStdout()) != "within\n" {
		t.Errorf("%v, %v", answer, err)
	}
	if answer, err = k.runtime.ExecSync(k.ctx, &v1.ExecSyncRequest{ContainerId: id, Cmd: []string{"/nothing"}}); err != nil || answer.GetExitCode() != 127 {
		t.Errorf("%v, %v", answer, err)
	}
	if _, err = k.runtime.ExecSync(k.ctx, &v1.ExecSyncRequest{ContainerId: id, Cmd: []string{k.program, "wait"}, Timeout: 1}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
}

func TestAPodIsListedUntilItIsRemoved(t *testing.T) {
	k := newKubelet(t)
	if _, err := k.start("wait"); err != nil {
		t.Fatal(err)
	}
	f := func(pods, containers int) {
		t.Helper()
		p, err := k.runtime.ListPodSandbox(k.ctx, &v1.ListPodSandboxRequest{Filter: &v1.PodSandboxFilter{
			LabelSelector: map[string]string{"pod": "one"}, State: &v1.PodSandboxStateValue{State: v1.PodSandboxState_SANDBOX_READY},
		}})
		if err != nil || len(p.GetItems()) != pods {
			t.Errorf("pods %v, %v", p, err)
		}
		c, err := k.runtime.ListContainers(k.ctx, &v1.ListContainersRequest{Filter: &v1.ContainerFilter{
			PodSandboxId: k.sandbox, State: &v1.ContainerStateValue{State: v1.ContainerState_CONTAINER_RUNNING},
		}})
		if err != nil || len(c.GetContainers()) != containers {
			t.Errorf("containers %v, %v", c, err)
		}
	}
	f(1, 1)
	if _, err := k.runtime.StopPodSandbox(k.ctx, &v1.StopPodSandboxRequest{PodSandboxId: k.sandbox}); err != nil {
		t.Fatal(err)
	}
	f(0, 0)
	if _, err := k.runtime.RemovePodSandbox(k.ctx, &v1.RemovePodSandboxRequest{PodSandboxId: k.sandbox}); err != nil {
		t.Fatal(err)
	}
	f(0, 0)
	if _, err := k.runtime.PodSandboxStatus(k.ctx, &v1.PodSandboxStatusRequest{PodSandboxId: k.sandbox}); status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNotMappedIsNotFound(t *testing.T) {
	k := newKubelet(t)
	spec := func(name string) *v1.ImageSpec { return &v1.ImageSpec{Image: name} }
	if _, err := k.images.PullImage(k.ctx, &v1.PullImageRequest{Image: spec("other:v1")}); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "other:v1") {
		t.Errorf("%v", err)
	}
	for name, there := range map[string]bool{"tool:v1": true, "other:v1": false} {
		if answer, err := k.images.ImageStatus(k.ctx, &v1.ImageStatusRequest{Image: spec(name)}); err != nil || (answer.GetImage() != nil) != there {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
	}
}
