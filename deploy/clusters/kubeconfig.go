package clusters

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contentHash tells kubeconfigs apart without keeping them.
func contentHash(kubeconfig []byte) string {
	sum := sha256.Sum256(kubeconfig)
	return hex.EncodeToString(sum[:])
}

// parse reads what a kubeconfig's current context says into a configuration that holds only what is safe
// to take from a tenant. Its errors name the field and the mend; they never quote a value.
func parse(kubeconfig []byte) (*rest.Config, error) {
	all, err := clientcmd.Load(kubeconfig)
	if err != nil {
		// The reason is left out: it may quote what was being read.
		return nil, errors.New("it is no kubeconfig: it must be YAML or JSON of the kind Config, apiVersion v1")
	}
	if all.CurrentContext == "" {
		return nil, errors.New("current-context is not set: name the context to use")
	}
	context := all.Contexts[all.CurrentContext]
	if context == nil {
		return nil, errors.New("current-context names no context in contexts")
	}
	cluster, user := all.Clusters[context.Cluster], all.AuthInfos[context.AuthInfo]
	if cluster == nil {
		return nil, errors.New("the current context names no cluster in clusters")
	}
	if user == nil {
		return nil, errors.New("the current context names no user in users")
	}
	config := &rest.Config{}
	if err := takeCluster(config, cluster); err != nil {
		return nil, err
	}
	if err := takeUser(config, user); err != nil {
		return nil, err
	}
	return config, nil
}

// takeCluster takes over where the API server is, and how it proves that.
func takeCluster(config *rest.Config, cluster *clientcmdapi.Cluster) error {
	switch {
	case cluster.CertificateAuthority != "":
		return errors.New("certificate-authority names a file, which is not read: use certificate-authority-data")
	case cluster.InsecureSkipTLSVerify:
		return errors.New("insecure-skip-tls-verify would give the credentials to anybody: use certificate-authority-data")
	case cluster.ProxyURL != "":
		return errors.New("proxy-url is not supported: remove it")
	case cluster.TLSServerName != "" && strings.ContainsFunc(cluster.TLSServerName, isUnprintable):
		return errors.New("tls-server-name is no host name")
	}
	if len(cluster.CertificateAuthorityData) > 0 && !x509.NewCertPool().AppendCertsFromPEM(cluster.CertificateAuthorityData) {
		return errors.New("certificate-authority-data holds no certificate in PEM")
	}
	server, err := url.Parse(cluster.Server)
	switch {
	case err != nil || server.Host == "" || server.Hostname() == "":
		return errors.New("server is no URL: it must be https://HOST:PORT")
	case server.Scheme != "https":
		return errors.New("server must begin with https://, since anything else would send the credentials in the clear")
	case server.User != nil || server.RawQuery != "" || server.Fragment != "":
		return errors.New("server must be https://HOST:PORT, with a path at most: put credentials into the user")
	}
	config.Host = server.String()
	config.TLSClientConfig.CAData = cluster.CertificateAuthorityData
	config.TLSClientConfig.ServerName = cluster.TLSServerName
	config.DisableCompression = cluster.DisableCompression
	return nil
}

// takeUser takes over credentials that stand in the kubeconfig itself.
func takeUser(config *rest.Config, user *clientcmdapi.AuthInfo) error {
	switch {
	case user.Exec != nil:
		return errors.New("the user's exec names a program, which is never run: use a token or a client certificate")
	case user.AuthProvider != nil:
		return errors.New("the user's auth-provider is never run: use a token or a client certificate")
	case user.TokenFile != "":
		return errors.New("tokenFile names a file, which is not read: use token")
	case user.ClientCertificate != "":
		return errors.New("client-certificate names a file, which is not read: use client-certificate-data")
	case user.ClientKey != "":
		return errors.New("client-key names a file, which is not read: use client-key-data")
	case user.Token != "" && (user.Username != "" || user.Password != ""):
		return errors.New("the user has both a token and a password: remove one of them")
	case user.Token == "" && user.Username == "" && len(user.ClientCertificateData) == 0:
		return errors.New("the user has no credentials: set token, or client-certificate-data and client-key-data")
	case strings.ContainsFunc(user.Token, isUnprintable):
		return errors.New("token holds spaces, line ends or other characters that no token has")
	case user.Impersonate == "" && (user.ImpersonateUID != "" || len(user.ImpersonateGroups) > 0 || len(user.ImpersonateUserExtra) > 0):
		return errors.New("as-uid, as-groups and as-user-extra need as")
	}
	if len(user.ClientCertificateData) > 0 || len(user.ClientKeyData) > 0 {
		if _, err := tls.X509KeyPair(user.ClientCertificateData, user.ClientKeyData); err != nil {
			return errors.New("client-certificate-data and client-key-data are no certificate in PEM and its key")
		}
	}
	config.BearerToken = user.Token
	config.Username, config.Password = user.Username, user.Password
	config.TLSClientConfig.CertData = user.ClientCertificateData
	config.TLSClientConfig.KeyData = user.ClientKeyData
	config.Impersonate = rest.ImpersonationConfig{
		UserName: user.Impersonate, UID: user.ImpersonateUID,
		Groups: user.ImpersonateGroups, Extra: user.ImpersonateUserExtra,
	}
	return nil
}

// isUnprintable says whether a character can stand neither in a token nor in a host name.
func isUnprintable(r rune) bool { return r <= ' ' || r >= 0x7f }
