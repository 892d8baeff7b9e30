package cri

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"gridrouter.io/deploy/testbed/container"
	"gridrouter.io/deploy/testbed/images"
)

// containerState is one container: made, running or ended, in this order.
type containerState struct {
	id      string
	sandbox *sandbox
	config  *v1.ContainerConfig
	image   images.Image
	folder  string
	created time.Time

	mu       sync.Mutex
	log      *logFile  // nil while it has not been started, and where it only pretends
	command  *exec.Cmd // nil where it only pretends
	started  time.Time
	finished time.Time
	exitCode int32
	reason   string
	message  string
	ended    chan struct{} // closed when it has ended
}

// start runs the program.
func (c *containerState) start(network *os.File) error {
	log, err := openLog(filepath.Join(c.sandbox.config.GetLogDirectory(), c.config.GetLogPath()))
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.log = log
	c.mu.Unlock()
	stdout, stderr := log.stream("stdout"), log.stream("stderr")
	command, err := container.Start(c.spec(), network, container.Streams{Out: stdout, Err: stderr})
	if err != nil {
		_ = log.close()
		c.end(128, "StartError", err.Error())
		return err
	}
	c.mu.Lock()
	c.command, c.started = command, time.Now()
	c.mu.Unlock()
	go func() {
		_ = command.Wait() // how it ended is read below
		stdout.flush()
		stderr.flush()
		_ = log.close()
		code := exitCode(command.ProcessState)
		reason := "Completed"
		if code != 0 {
			reason = "Error"
		}
		c.end(code, reason, "")
	}()
	return nil
}

// exitCode is the status of a process as a shell tells it: 128 and the signal if one ended it.
func exitCode(state *os.ProcessState) int32 {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int32(status.Signal())
	}
	return int32(state.ExitCode())
}

// pretend says that the container runs.
func (c *containerState) pretend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = time.Now()
}

func (c *containerState) end(code int32, reason, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished.IsZero() {
		return
	}
	c.finished, c.exitCode, c.reason, c.message = time.Now(), code, reason, message
	close(c.ended)
}

// stop ends a container: by SIGTERM, or whatever signal was asked for, and after the grace by
// SIGKILL, which ends all of its processes. It returns when it has ended.
func (c *containerState) stop(ctx context.Context, grace time.Duration) {
	c.mu.Lock()
	command, started := c.command, !c.started.IsZero()
	c.mu.Unlock()
	switch {
	case !started:
		return
	case command == nil:
		c.end(0, "Completed", "")
		return
	}
	if grace > 0 {
		_ = command.Process.Signal(c.stopSignal())
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.ended:
			return
		case <-timer.C:
		case <-ctx.Done():
			return // the kubelet asks again
		}
	}
	_ = command.Process.Kill()
	<-c.ended
}

// stopSignal is what the pod asked for in lifecycle.stopSignal, or SIGTERM.
func (c *containerState) stopSignal() os.Signal {
	if s := unix.SignalNum(strings.TrimPrefix(c.config.GetStopSignal().String(), "SIGNAL_")); s != 0 {
		return s
	}
	return unix.SIGTERM
}

// imageSpec names the image as the pod does; the kubelet itself names it by its ID.
func (c *containerState) imageSpec() *v1.ImageSpec {
	if name := c.config.GetImage().GetUserSpecifiedImage(); name != "" {
		return &v1.ImageSpec{Image: name}
	}
	return c.config.GetImage()
}

func (c *containerState) status() *v1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := &v1.ContainerStatus{
		Id:          c.id,
		Metadata:    c.config.GetMetadata(),
		State:       v1.ContainerState_CONTAINER_CREATED,
		CreatedAt:   c.created.UnixNano(),
		Image:       c.imageSpec(),
		ImageRef:    imageID(c.image),
		ImageId:     imageID(c.image),
		Labels:      c.config.GetLabels(),
		Annotations: c.config.GetAnnotations(),
		Mounts:      c.config.GetMounts(),
		LogPath:     filepath.Join(c.sandbox.config.GetLogDirectory(), c.config.GetLogPath()),
	}
	if !c.started.IsZero() {
		answer.State, answer.StartedAt = v1.ContainerState_CONTAINER_RUNNING, c.started.UnixNano()
	}
	if !c.finished.IsZero() {
		answer.State, answer.FinishedAt = v1.ContainerState_CONTAINER_EXITED, c.finished.UnixNano()
		answer.ExitCode, answer.Reason, answer.Message = c.exitCode, c.reason, c.message
	}
	return answer
}

// spec translates what the kubelet asks for.
func (c *containerState) spec() container.Spec {
	security := c.config.GetLinux().GetSecurityContext()
	spec := container.Spec{
		Folder:          c.folder,
		Image:           c.image.Path,
		ImageFolder:     c.image.Folder,
		ReadOnly:        security.GetReadonlyRootfs(),
		Hostname:        c.sandbox.config.GetHostname(),
		NoNewPrivileges: security.GetNoNewPrivs(),
		Capabilities:    capabilities(security),
		Arguments:       c.arguments(),
		WorkingDir:      c.image.WorkingDir,
		UID:             int(c.image.UID),
		GID:             int(c.image.GID),
		Files: map[string]string{
			"/etc/hostname":    c.sandbox.config.GetHostname() + "\n",
			"/etc/resolv.conf": resolvConf(c.sandbox.config.GetDnsConfig()),
		},
	}
	if folder := c.config.GetWorkingDir(); folder != "" {
		spec.WorkingDir = folder
	}
	if user := security.GetRunAsUser(); user != nil {
		spec.UID, spec.GID = int(user.GetValue()), 0
	}
	if group := security.GetRunAsGroup(); group != nil {
		spec.GID = int(group.GetValue())
	}
	for _, group := range security.GetSupplementalGroups() {
		spec.Groups = append(spec.Groups, int(group))
	}
	for _, m := range c.config.GetMounts() {
		spec.Mounts = append(spec.Mounts, container.Mount{Host: m.GetHostPath(), Path: m.GetContainerPath(), ReadOnly: m.GetReadonly()})
	}
	spec.Environment = c.environment(spec.UID)
	return spec
}

// arguments are the pod's command and args. A pod without a command has the image's; then, without
// args, the image's arguments too.
func (c *containerState) arguments() []string {
	command, arguments := c.config.GetCommand(), c.config.GetArgs()
	if len(command) == 0 {
		command = c.image.Entrypoint
		if len(arguments) == 0 {
			arguments = c.image.Command
		}
	}
	return slices.Concat(command, arguments)
}

func (c *containerState) environment(uid int) []string {
	home := "/"
	if uid == 0 {
		home = "/root"
	}
	environment := make([]string, 0, 3+len(c.image.Environment)+len(c.config.GetEnvs()))
	environment = append(environment,
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME="+c.sandbox.config.GetHostname(),
		"HOME="+home)
	environment = append(environment, c.image.Environment...)
	for _, variable := range c.config.GetEnvs() {
		environment = append(environment, variable.GetKey()+"="+string(variable.GetValue()))
	}
	return environment
}

func resolvConf(dns *v1.DNSConfig) string {
	var text strings.Builder
	for _, server := range dns.GetServers() {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	if searches := dns.GetSearches(); len(searches) > 0 {
		fmt.Fprintf(&text, "search %s\n", strings.Join(searches, " "))
	}
	if options := dns.GetOptions(); len(options) > 0 {
		fmt.Fprintf(&text, "options %s\n", strings.Join(options, " "))
	}
	return text.String()
}
