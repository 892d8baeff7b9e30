package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/fleet/tables"
)

// secrets is what a fleet needs of Secrets. They are read by name, when they are needed, so that the
// operator may read single ones and holds none of the others.
type secrets struct {
	// admin is the Secret with the token, whoever's it is; nil: there is none.
	admin *corev1.Secret
	// token is that of the routers' admin endpoints.
	token string
	// login is what the Secret of spec.etcd.secret has.
	login render.EtcdLogin
	// etcd is how the fleet's etcd is reached.
	etcd tables.Source
	// unusable says that the Secret of spec.etcd.secret is not there or lacks something, so that no pods can
	// be made from it.
	unusable bool
	// withoutEtcd says that the EtcdCluster of the spec is not there; empty: it is, or none is named.
	withoutEtcd []string
	// missing says which Secret is not there or lacks something; empty: none.
	missing string
}

// etcdSecretKeys are the keys of an etcd Secret that mean something.
var etcdSecretKeys = []string{corev1.ServiceAccountRootCAKey, corev1.TLSCertKey, corev1.TLSPrivateKeyKey, corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey}

// readSecrets reads the secrets that a fleet names, and its own.
func (r *Reconciler) readSecrets(ctx context.Context, w *world) error {
	missing := w.secrets.withoutEtcd
	note := func(text string) { missing = append(missing, text) }
	admin, err := readSecret(ctx, w, render.NamesOf(w.fleet.Name).AdminSecret)
	if err != nil {
		return err
	}
	w.secrets.admin = admin
	if admin != nil && w.owns(admin) {
		w.secrets.token = string(admin.Data[render.AdminTokenKey])
	}
	if w.secrets.token == "" {
		var random [32]byte
		_, _ = rand.Read(random[:]) // it never fails
		w.secrets.token = hex.EncodeToString(random[:])
	}
	if err := readEtcdSecret(ctx, w, note); err != nil {
		return err
	}
	w.secrets.unusable = len(missing) > 0
	for _, listener := range w.fleet.Spec.Listeners {
		if listener.TLSSecret == "" {
			continue
		}
		if err := lookForKeys(ctx, w, listener.TLSSecret, note, corev1.TLSCertKey, corev1.TLSPrivateKeyKey); err != nil {
			return err
		}
	}
	slices.Sort(missing)
	w.secrets.missing = strings.Join(slices.Compact(missing), "; ")
	return nil
}

// readEtcdSecret finds out how the fleet's etcd is reached.
func readEtcdSecret(ctx context.Context, w *world, note func(string)) error {
	source := tables.Source{Prefix: w.fleet.Spec.Prefix}
	for _, endpoint := range w.fleet.Spec.Etcd.Endpoints {
		source.Endpoints = append(source.Endpoints, string(endpoint))
	}
	if name := w.fleet.Spec.Etcd.Secret; name != "" {
		secret, err := readSecret(ctx, w, name)
		if err != nil {
			return err
		}
		if secret == nil {
			note(fmt.Sprintf("Secret %s is not there: create it, with the keys that docs/API.md lists for etcd.secret", name))
		} else {
			data := secret.Data
			source.CA, source.Cert, source.Key = data[corev1.ServiceAccountRootCAKey], data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey]
			source.Username, source.Password = string(data[corev1.BasicAuthUsernameKey]), string(data[corev1.BasicAuthPasswordKey])
			for _, key := range etcdSecretKeys {
				if len(data[key]) > 0 {
					w.secrets.login.Keys = append(w.secrets.login.Keys, key)
				}
			}
			w.secrets.login.User = source.Username
			noteHalves(name, w.secrets.login.Keys, note)
		}
	}
	w.secrets.etcd = source
	return nil
}

// noteHalves finds pairs of keys of which only one is there.
func noteHalves(secret string, keys []string, note func(string)) {
	for _, pair := range [][2]string{{corev1.TLSCertKey, corev1.TLSPrivateKeyKey}, {corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey}} {
		for i, key := range pair {
			if other := pair[1-i]; slices.Contains(keys, key) && !slices.Contains(keys, other) {
				note(fmt.Sprintf("Secret %s has %s and no %s: add it, or remove the other", secret, key, other))
			}
		}
	}
}

// lookForKeys notes what a Secret lacks.
func lookForKeys(ctx context.Context, w *world, name string, note func(string), keys ...string) error {
	secret, err := readSecret(ctx, w, name)
	if err != nil {
		return err
	}
	if secret == nil {
		note(fmt.Sprintf("Secret %s is not there: create it with the keys %s", name, strings.Join(keys, " and ")))
		return nil
	}
	for _, key := range keys {
		if len(secret.Data[key]) == 0 {
			note(fmt.Sprintf("Secret %s lacks the key %s: add it", name, key))
		}
	}
	return nil
}

// readSecret reads a Secret past the cache; nil: there is none.
func readSecret(ctx context.Context, w *world, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := w.cluster.Live.Get(ctx, client.ObjectKey{Namespace: w.fleet.Namespace, Name: name}, secret)
	switch {
	case gone(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Secret %s: %w", name, err)
	}
	return secret, nil
}
