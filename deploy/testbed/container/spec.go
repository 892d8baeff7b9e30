// Package container turns a fresh process into a container: file system, host name, user, and at
// last the program itself. The process is the testbed's own binary, which was started in
// namespaces of its own, reads a Spec, and becomes the program.
package container

// Descriptors that the process finds open.
const (
	specFile   = 3 // a Spec as JSON
	resultFile = 4 // takes the message of a failure; closed when the program runs
	netFile    = 5 // the network namespace to join
)

// Argument is the first argument by which the testbed's binary is told to become a container.
const Argument = "become-container"

// Spec says what a container is.
type Spec struct {
	// Join is the number of a process in a container that is joined; if it is 0, one is made. Who
	// joins shares the network, the host name and the root, and has the testbed's processes.
	Join int
	// Folder is an empty folder of the host, on which the root is put together.
	Folder string
	// Image is a program or a folder of the host; see images.Image.
	Image       string
	ImageFolder bool
	// ReadOnly forbids writes to the root; mounts have their own say.
	ReadOnly bool
	Mounts   []Mount
	// Files are written into the root unless a mount is there, by their path.
	Files    map[string]string
	Hostname string
	// OwnNetwork says that the process joins the network namespace in netFile; otherwise it has
	// that of the testbed.
	OwnNetwork bool
	// UID, GID and Groups are who the program runs as.
	UID, GID int
	Groups   []int
	// Capabilities are those that the program may have, as root or through a file that gives them,
	// by their names without CAP_.
	Capabilities []string
	// NoNewPrivileges forbids that the program gains any by starting another.
	NoNewPrivileges bool
	// Arguments and Environment are those of the program; it is looked up in the PATH of the
	// environment.
	Arguments   []string
	Environment []string
	// WorkingDir is made if it is missing.
	WorkingDir string
}

// Mount is a file or folder of the host that the container sees at Path.
type Mount struct {
	Host     string
	Path     string
	ReadOnly bool
}
