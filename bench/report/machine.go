package report

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine describes where and when a run was made.
type Machine struct {
	CPU string `json:"cpu"`
	// Cores is how many this process may use.
	Cores int `json:"cores"`
	// MemoryMB is the machine's memory, in MB of 10^6 bytes; 0 if unknown.
	MemoryMB int64  `json:"memoryMB"`
	Go       string `json:"go"`
	Kernel   string `json:"kernel"`
	// Commit is the revision of the source, as the build knows it.
	Commit string    `json:"commit"`
	Date   time.Time `json:"date"`
}

// DescribeMachine reads what Linux tells of itself; elsewhere "unknown" stands in its place.
func DescribeMachine(commit string) Machine {
	m := Machine{
		CPU: "unknown", Kernel: "unknown", Cores: runtime.GOMAXPROCS(0), Commit: commit, Date: time.Now().UTC().Truncate(time.Second),
		Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
	}
	if model := lineOf("/proc/cpuinfo", "model name"); model != "" {
		m.CPU = model
	}
	if fields := strings.Fields(lineOf("/proc/meminfo", "MemTotal")); len(fields) > 0 {
		if kib, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
			m.MemoryMB = kib * 1024 / 1e6
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	return m
}

// lineOf returns what follows "NAME:" in a file of such lines; empty if it is not there.
func lineOf(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Write writes the description, a line for each thing.
func (m *Machine) Write(out *strings.Builder) {
	fmt.Fprintf(out, "CPU     %s, %d cores\nMemory  %d MB\nKernel  %s\nGo      %s\nCommit  %s\nDate    %s\n",
		m.CPU, m.Cores, m.MemoryMB, m.Kernel, m.Go, m.Commit, m.Date.Format(time.RFC3339))
}
