package vip

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gridrouter.io/deploy/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample() VIP {
	return VIP{
		Namespace: "team", Fleet: "edge", Address: "192.0.2.10",
		Scheduler: v1alpha1.SchedulerLeastConnections, Mode: v1alpha1.LVSDirectRouting,
		Servers: []v1alpha1.RealServer{
			{Address: "192.0.2.22:8080", Weight: 0, State: v1alpha1.RealServerDraining},
			{Address: "192.0.2.21:8080", Weight: 100, State: v1alpha1.RealServerActive},
			{Address: "192.0.2.23:8080", Weight: 1, State: v1alpha1.RealServerLagging},
			{Address: "192.0.2.21:8443", Weight: 100, State: v1alpha1.RealServerActive},
		},
	}
}

func sixth() VIP {
	v := sample()
	v.Address, v.Scheduler, v.Mode = "fd00::10", v1alpha1.SchedulerMaglev, v1alpha1.LVSTunnel
	v.Servers = []v1alpha1.RealServer{{Address: "[fd00::21]:8080", Weight: 100}, {Address: "[fd00::22]:8080", Weight: 100}}
	return v
}

func translated() VIP {
	v := sample()
	v.Scheduler, v.Mode = v1alpha1.SchedulerRoundRobin, v1alpha1.LVSNAT
	return v
}

func idle() VIP {
	v := sample()
	v.Servers = nil
	return v
}

func leaving() VIP {
	v := sample()
	v.Servers = v.Servers[:1]
	return v
}

// validate has a real keepalived read a configuration. warned: it may warn.
func validate(t *testing.T, text string, warned bool) {
	t.Helper()
	program, err := exec.LookPath("keepalived")
	if err != nil {
		t.Skip("keepalived is not installed: the configuration was not read by it")
	}
	file := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "--config-test", "--use-file", file).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && warned {
		err = nil
	}
	if err != nil || strings.Contains(string(out), "Unknown keyword") {
		t.Errorf("keepalived: %v: %s\n%s", err, out, text)
	}
}

func TestTheConfigurationIsAsItsGoldenFileSays(t *testing.T) {
	for name, v := range map[string]VIP{"dr": sample(), "tun-ipv6": sixth(), "nat": translated(), "idle": idle(), "leaving": leaving()} {
		text, err := Render(v)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".conf")
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || text != string(want) {
			t.Errorf("%s: %v; -update writes it anew\n%s", file, err, text)
		}
	}
}

func TestKeepalivedTakesTheConfiguration(t *testing.T) {
	for name, v := range map[string]VIP{"dr": sample(), "tun-ipv6": sixth(), "nat": translated(), "idle": idle(), "leaving": leaving()} {
		t.Run(name, func(t *testing.T) {
			text, err := Render(v)
			if err != nil {
				t.Fatal(err)
			}
			validate(t, text, name == "leaving")
		})
	}
	t.Run("a thousand", func(t *testing.T) {
		v := sample()
		v.Servers = nil
		for i := range MaxRealServers {
			v.Servers = append(v.Servers, v1alpha1.RealServer{Address: fmt.Sprintf("10.0.%d.%d:8080", i/250, 1+i%250), Weight: 100})
		}
		text, err := Render(v)
		if err != nil || len(text) > 1<<20 { // what a ConfigMap holds
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		validate(t, text, false)
	})
}

func TestNothingThatASpecSaysAddsALine(t *testing.T) {
	hostile := []string{
		"", " ", "wrr\n}", "10.9.0.10\nvrrp_script x {", "10.9.0.10 {", "10.9.0.10}", "10.9.0.10#", "fe80::1%eth0\n}", "fe80::1%}", "0.0.0.0", "127.0.0.1", "::",
		"${X}", "@host", "!comment", "include /etc/passwd", "../x", "a/b", "A", "\x00", "10.9.0.10:80\n", "[::1%\n}]:80", "10.0.0.1:0", "10.0.0.1:99999", "[fd00::1]:8080",
	}
	try := func(field, value string, change func(*VIP)) {
		t.Helper()
		v := sample()
		change(&v)
		if text, err := Render(v); err == nil {
			t.Errorf("%s %q is let in:\n%s", field, value, text)
		} else if strings.Contains(err.Error(), "\n") || value != "" && strings.TrimSpace(value) != "" && strings.Contains(err.Error(), value) && len(value) > 4 {
			t.Errorf("%s %q is in the error %q", field, value, err)
		}
	}
	for _, value := range hostile {
		if value != "[fd00::1]:8080" {
			try("vip", value, func(v *VIP) { v.Address = value })
		}
		try("scheduler", value, func(v *VIP) { v.Scheduler = v1alpha1.LVSScheduler(value) })
		try("mode", value, func(v *VIP) { v.Mode = v1alpha1.LVSMode(value) })
		try("server", value, func(v *VIP) { v.Servers[0].Address = value })
		if value != "0.0.0.0" && value != "127.0.0.1" { // which are names too
			try("fleet", value, func(v *VIP) { v.Fleet = value })
			try("namespace", value, func(v *VIP) { v.Namespace = value })
		}
	}
	for _, weight := range []int32{-1, math.MinInt32, 65536, math.MaxInt32} {
		try("weight", fmt.Sprint(weight), func(v *VIP) { v.Servers[0].Weight = weight })
	}
}

// FuzzWhatASpecSays holds every line to the few forms that lines have.
func FuzzWhatASpecSays(f *testing.F) {
	f.Add("192.0.2.10", "wrr", "DR", "192.0.2.21:8080", "edge", int32(100))
	f.Add("fd00::10", "mh", "TUN", "[fd00::21]:8080", "edge", int32(0))
	f.Add("192.0.2.10\n}", "wrr\n}", "DR", "192.0.2.21:8080\n", "edge\n}", int32(-1))
	f.Fuzz(func(t *testing.T, vip, scheduler, mode, server, fleet string, weight int32) {
		text, err := Render(VIP{
			Namespace: "team", Fleet: fleet, Address: vip, Scheduler: v1alpha1.LVSScheduler(scheduler), Mode: v1alpha1.LVSMode(mode),
			Servers: []v1alpha1.RealServer{{Address: server, Weight: weight}},
		})
		if err != nil {
			return
		}
		virtual := strings.Count(text, "virtual_server")
		if virtual != 1 || strings.Count(text, "\n") != 2+8+14 || strings.Count(text, "{") != strings.Count(text, "}") {
			t.Errorf("%d lines:\n%s", strings.Count(text, "\n"), text)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
			t.Errorf("%q", text)
		}
	})
}
