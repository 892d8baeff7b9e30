package clusters

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"gridrouter.io/bench/testkit"
)

// secretToken stands for what must be told to nobody.
const secretToken = "s3cr3t-t0k3n"

// kubeconfig returns one that is fine, after changes by dotted paths: "user.token", "cluster.server",
// "context.user" and "current-context" are those of its only entries. A nil value removes.
func kubeconfig(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	parts := map[string]map[string]any{
		"":        {"apiVersion": "v1", "kind": "Config", "current-context": "c"},
		"user":    {"token": secretToken},
		"cluster": {"server": "https://192.0.2.1:6443"},
		"context": {"user": "u", "cluster": "k"},
	}
	for path, value := range changes {
		part, name, found := strings.Cut(path, ".")
		if !found {
			part, name = "", path
		}
		if value == nil {
			delete(parts[part], name)
		} else {
			parts[part][name] = value
		}
	}
	all := map[string]any{
		"users":    []any{map[string]any{"name": "u", "user": parts["user"]}},
		"clusters": []any{map[string]any{"name": "k", "cluster": parts["cluster"]}},
		"contexts": []any{map[string]any{"name": "c", "context": parts["context"]}},
	}
	for name, value := range parts[""] {
		all[name] = value
	}
	text, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// TestAKubeconfigOfATenantRunsNothingAndReadsNothing goes through kubeconfigs that would harm the operator,
// or that could not be used. Each error names the field, and none quotes a credential.
func TestAKubeconfigOfATenantRunsNothingAndReadsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(secretToken), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := filepath.Join(t.TempDir(), "ran")
	for name, row := range map[string]struct {
		changes map[string]any
		want    string
	}{
		"a program":                    {map[string]any{"user.exec": map[string]any{"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": []any{ran}, "interactiveMode": "Never"}}, "exec names a program"},
		"a program instead of a token": {map[string]any{"user.token": nil, "user.exec": map[string]any{"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": []any{ran}, "interactiveMode": "Never"}}, "exec names a program"},
		"an auth provider":             {map[string]any{"user.auth-provider": map[string]any{"name": "gcp", "config": map[string]any{"cmd-path": "touch", "cmd-args": ran}}}, "auth-provider is never run"},
		"a file of a token":            {map[string]any{"user.token": nil, "user.tokenFile": file}, "tokenFile names a file"},
		"a token and a file of one":    {map[string]any{"user.tokenFile": file}, "tokenFile names a file"},
		"a file of a certificate":      {map[string]any{"user.client-certificate": file}, "client-certificate names a file"},
		"a file of a key":              {map[string]any{"user.client-key": file}, "client-key names a file"},
		"a file of a CA":               {map[string]any{"cluster.certificate-authority": file}, "certificate-authority names a file"},
		"a relative path":              {map[string]any{"cluster.certificate-authority": "../../ca.crt"}, "certificate-authority names a file"},
		"no check of the server":       {map[string]any{"cluster.insecure-skip-tls-verify": true}, "insecure-skip-tls-verify"},
		"a proxy":                      {map[string]any{"cluster.proxy-url": "http://u:" + secretToken + "@192.0.2.7:3128"}, "proxy-url is not supported"},
		"no TLS":                       {map[string]any{"cluster.server": "http://192.0.2.1:8080"}, "server must begin with https://"},
		"no scheme":                    {map[string]any{"cluster.server": "192.0.2.1:6443"}, "server"},
		"a socket":                     {map[string]any{"cluster.server": "unix:///run/containerd.sock"}, "server"},
		"a file as server":             {map[string]any{"cluster.server": "file:///etc/passwd"}, "server"},
		"no host":                      {map[string]any{"cluster.server": "https://:6443"}, "server is no URL"},
		"no server":                    {map[string]any{"cluster.server": nil}, "server is no URL"},
		"a password in the URL":        {map[string]any{"cluster.server": "https://u:" + secretToken + "@192.0.2.1"}, "put credentials into the user"},
		"a query":                      {map[string]any{"cluster.server": "https://192.0.2.1/?token=" + secretToken}, "server must be https://HOST:PORT"},
		"a broken URL":                 {map[string]any{"cluster.server": "https://" + secretToken + "%zz"}, "server is no URL"},
		"a line end in the name":       {map[string]any{"cluster.tls-server-name": "a\nb"}, "tls-server-name"},
		"a CA that is none":            {map[string]any{"cluster.certificate-authority-data": encoded(secretToken)}, "certificate-authority-data holds no certificate"},
		"a certificate that is none":   {map[string]any{"user.client-certificate-data": encoded(secretToken), "user.client-key-data": encoded(secretToken)}, "client-certificate-data and client-key-data"},
		"a key without a certificate":  {map[string]any{"user.client-key-data": encoded(secretToken)}, "client-certificate-data and client-key-data"},
		"data that is not base64":      {map[string]any{"user.client-key-data": "!" + secretToken}, "it is no kubeconfig"},
		"a header in the token":        {map[string]any{"user.token": secretToken + "\r\nX-Forged: 1"}, "token holds spaces, line ends"},
		"a space in the token":         {map[string]any{"user.token": secretToken + " x"}, "token holds spaces, line ends"},
		"token and password":           {map[string]any{"user.username": "u", "user.password": secretToken}, "both a token and a password"},
		"no credentials":               {map[string]any{"user.token": nil}, "the user has no credentials"},
		"groups of nobody":             {map[string]any{"user.as-groups": []any{"system:masters"}}, "need as"},
		"no context":                   {map[string]any{"current-context": nil}, "current-context is not set"},
		"another context":              {map[string]any{"current-context": secretToken}, "current-context names no context"},
		"another cluster":              {map[string]any{"context.cluster": secretToken}, "names no cluster"},
		"another user":                 {map[string]any{"context.user": secretToken}, "names no user"},
		"another kind":                 {map[string]any{"kind": "Secret"}, "it is no kubeconfig"},
		"another version":              {map[string]any{"apiVersion": "v2"}, "it is no kubeconfig"},
		"a number as a token":          {map[string]any{"user.token": 12345}, "it is no kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, kubeconfig(t, row.changes), row.want) })
	}
	for name, text := range map[string]string{
		"nothing": "", "no document": "---", "a list": "[" + secretToken + "]", "a word": secretToken, "broken": "{" + secretToken + ": [",
		"bytes": "\x00\xff" + secretToken, "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c]\n",
	} {
		t.Run(name, func(t *testing.T) { refused(t, []byte(text), "") })
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program of the kubeconfig was run")
	}
}

func refused(t *testing.T, kubeconfig []byte, want string) {
	t.Helper()
	config, err := parse(kubeconfig)
	if err == nil {
		t.Fatalf("it was taken: %v", config)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %q and should have %q", err, want)
	}
	if strings.Contains(err.Error(), secretToken) {
		t.Errorf("the error quotes what is secret: %q", err)
	}
}

// TestAKubeconfigWithItsOwnCredentialsIsTaken goes through what may stand in one.
func TestAKubeconfigWithItsOwnCredentialsIsTaken(t *testing.T) {
	pair := testkit.NewAuthority(t, "ca").Issue()
	certificate, key := read(t, pair.CertFile), read(t, pair.KeyFile)
	for name, changes := range map[string]map[string]any{
		"a token":         nil,
		"a password":      {"user.token": nil, "user.username": "u", "user.password": "p"},
		"a certificate":   {"user.token": nil, "user.client-certificate-data": encoded(certificate), "user.client-key-data": encoded(key)},
		"a CA":            {"cluster.certificate-authority-data": encoded(certificate)},
		"a path":          {"cluster.server": "https://rancher.example/k8s/clusters/c-1"},
		"a name":          {"cluster.server": "https://k8s.example", "cluster.tls-server-name": "kubernetes"},
		"an IPv6 address": {"cluster.server": "https://[2001:db8::1]:6443"},
		"another user":    {"user.as": "u", "user.as-groups": []any{"g"}},
		"a namespace":     {"context.namespace": "grid"},
		"preferences":     {"preferences": map[string]any{}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(kubeconfig(t, changes)); err != nil {
				t.Error(err)
			}
		})
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEveryFieldOfAKubeconfigIsKnown fails when a new version of the library lets kubeconfigs say more, which
// has to be refused or taken over in [parse].
func TestEveryFieldOfAKubeconfigIsKnown(t *testing.T) {
	known := map[string]bool{}
	for _, name := range []string{
		"LocationOfOrigin", "Extensions", // mean nothing to a client
		"Server", "TLSServerName", "InsecureSkipTLSVerify", "CertificateAuthority", "CertificateAuthorityData", "ProxyURL", "DisableCompression",
		"ClientCertificate", "ClientCertificateData", "ClientKey", "ClientKeyData", "Token", "TokenFile",
		"Impersonate", "ImpersonateUID", "ImpersonateGroups", "ImpersonateUserExtra", "Username", "Password", "AuthProvider", "Exec",
	} {
		known[name] = true
	}
	for _, kind := range []reflect.Type{reflect.TypeFor[clientcmdapi.Cluster](), reflect.TypeFor[clientcmdapi.AuthInfo]()} {
		for i := range kind.NumField() {
			if name := kind.Field(i).Name; !known[name] {
				t.Errorf("%s has a field %s that parse does not know", kind, name)
			}
		}
	}
}

// FuzzKubeconfig looks for kubeconfigs that are taken and hold what would reach beyond the connection.
func FuzzKubeconfig(f *testing.F) {
	f.Add(kubeconfig(f, nil))
	f.Add(kubeconfig(f, map[string]any{"user.tokenFile": "/etc/passwd"}))
	f.Add(kubeconfig(f, map[string]any{"user.exec": map[string]any{"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}}))
	f.Add(kubeconfig(f, map[string]any{"cluster.server": "https://a@b/c?d#e"}))
	f.Fuzz(func(t *testing.T, text []byte) {
		config, err := parse(text)
		if err != nil {
			return
		}
		tls := config.TLSClientConfig
		if !strings.HasPrefix(config.Host, "https://") || tls.Insecure || tls.CAFile != "" || tls.CertFile != "" || tls.KeyFile != "" ||
			config.BearerTokenFile != "" || config.ExecProvider != nil || config.AuthProvider != nil || config.Proxy != nil {
			t.Errorf("taken: %v", config)
		}
	})
}
