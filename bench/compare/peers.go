package compare

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
)

// Each peer is set up as its makers and its users advise for speed: as many workers as cores,
// connections to decks kept, no access log, buffers that hold a 64 KiB answer.

// workers is how many threads or processes C proxies get.
const workers = 2

// descriptors is how many descriptors a process may have. Peers raise
// their soft limit to it themselves.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // the least that systems give
	}
	return int(min(limit.Max, 100_000))
}

func (b *bench) haproxy(a *arm) ([]string, error) {
	hosts, err := b.hostMap("haproxy.map", "%s d%d\n")
	if err != nil {
		return nil, err
	}
	var backends strings.Builder
	for i, addr := range b.grid.decks {
		fmt.Fprintf(&backends, "backend d%d\n  server s %s\n", i, addr)
	}
	file, err := b.write("haproxy.cfg", fmt.Sprintf(`global
  nbthread %d
  maxconn %d
  ulimit-n %d
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout tunnel 600s
  http-reuse always
  option splice-auto
frontend f
  bind %s
  bind %s ssl crt %s ssl-min-ver TLSv1.3 alpn http/1.1
  http-request set-var(txn.deck) req.hdr(host),lower,map_str(%s)
  http-request return status 404 unless { var(txn.deck) -m found }
  use_backend %%[var(txn.deck)]
%s`, workers, descriptors()*3/5, descriptors(), a.addr, a.tlsAddr, b.grid.pem, hosts, backends.String()))
	return []string{"-dMno-tag", "-db", "-f", file}, err
}

func (b *bench) nginx(a *arm) ([]string, error) {
	hosts, err := b.hostMap("nginx.map", "%s d%d;\n")
	if err != nil {
		return nil, err
	}
	var upstreams strings.Builder
	for i, addr := range b.grid.decks {
		fmt.Fprintf(&upstreams, "  upstream d%d { server %s; keepalive 256; keepalive_requests 1000000000; }\n", i, addr)
	}
	file, err := b.write("nginx.conf", fmt.Sprintf(`daemon off;
worker_processes %d;
worker_rlimit_nofile %d;
pid %s;
error_log stderr crit;
events { worker_connections %d; multi_accept on; }
http {
  access_log off;
  map_hash_max_size %d;
  map_hash_bucket_size 128;
  map $host $deck { default ""; include %s; }
  map $http_upgrade $kept_or_upgraded { default upgrade; "" ""; }
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  proxy_http_version 1.1;
  proxy_set_header Host $host;
  proxy_set_header Connection $kept_or_upgraded;
  proxy_set_header Upgrade $http_upgrade;
  proxy_buffer_size 16k;
  proxy_buffers 16 64k;
  proxy_busy_buffers_size 256k;
  proxy_max_temp_file_size 0;
  client_max_body_size 0;
%s
  server {
    listen %s reuseport;
    listen %s ssl reuseport;
    ssl_certificate %s;
    ssl_certificate_key %s;
    ssl_protocols TLSv1.3;
    ssl_session_cache shared:tls:10m;
    location / {
      if ($deck = "") { return 404; }
      proxy_pass http://$deck;
    }
  }
}
`, workers, descriptors(), filepath.Join(b.dir, "nginx.pid"), descriptors(), 4*b.Hosts, hosts, upstreams.String(), a.addr, a.tlsAddr, b.grid.pem, b.grid.pem))
	return []string{"-p", b.dir, "-c", file}, err
}

func (b *bench) caddy(a *arm) ([]string, error) {
	_, port, err := net.SplitHostPort(a.addr)
	if err != nil {
		return nil, err
	}
	file, err := b.write("Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://:%s {
	bind 127.0.0.1
	reverse_proxy %s {
		transport http {
			keepalive_idle_conns_per_host 512
		}
	}
}
`, port, b.grid.decks[0]))
	return []string{"run", "--adapter", "caddyfile", "--config", file}, err
}

func (b *bench) traefik(a *arm) ([]string, error) {
	routes, err := b.write("traefik-routes.yaml", fmt.Sprintf(`http:
  routers:
    all: {rule: "PathPrefix(`+"`/`"+`)", service: d0, entryPoints: [web]}
  services:
    d0: {loadBalancer: {servers: [{url: "http://%s"}], serversTransport: kept}}
  serversTransports:
    kept: {maxIdleConnsPerHost: 512}
`, b.grid.decks[0]))
	if err != nil {
		return nil, err
	}
	file, err := b.write("traefik.yaml", fmt.Sprintf(`entryPoints: {web: {address: "%s"}}
providers: {file: {filename: "%s"}}
global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: ERROR}
`, a.addr, routes))
	return []string{"--configFile=" + file}, err
}
