package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// server is a real HTTP server that writes the X-Request-Id of every request that it sees to
// a file, a line each, with "-" for one that has none.
type server struct {
	name     string
	programs []string
	start    func(t *testing.T, addr, dir, log string)
}

func servers() []server {
	return []server{
		{"nginx", []string{"nginx"}, startNginx},
		{"apache2", []string{"apache2"}, startApache},
		{"lighttpd", []string{"lighttpd"}, startLighttpd},
		{"nodejs", []string{"node"}, startNode},
		{"python-wsgi", []string{"python3"}, startWSGI},
		{"net-http", nil, startGo},
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func startNginx(t *testing.T, addr, dir, log string) {
	start(t, find("nginx"), "-p", dir, "-c", write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`daemon off; master_process off; pid %[2]s/pid; error_log %[2]s/error;
events {}
http { log_format id '$http_x_request_id'; access_log %[3]s id; client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy;
fastcgi_temp_path %[2]s/f; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/s; keepalive_requests 100000; underscores_in_headers on;
server { listen %[1]s; location / { return 200 ok; } } }`, addr, dir, log)))
}

func startApache(t *testing.T, addr, dir, log string) {
	start(t, find("apache2"), "-X", "-f", write(t, filepath.Join(dir, "apache.conf"), fmt.Sprintf(`ServerRoot %[2]s
ServerName d1.deck.example
Listen %[1]s
PidFile %[2]s/pid
DefaultRuntimeDir %[2]s
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
ErrorLog %[2]s/error
LogFormat "%%{X-Request-Id}i" id
CustomLog %[3]s id
DocumentRoot %[2]s
MaxKeepAliveRequests 0
`, addr, dir, log)))
}

func startLighttpd(t *testing.T, addr, dir, log string) {
	host, port, _ := net.SplitHostPort(addr)
	start(t, find("lighttpd"), "-D", "-f", write(t, filepath.Join(dir, "lighttpd.conf"), fmt.Sprintf(`server.bind = "%s"
server.port = %s
server.document-root = "%s"
server.modules = ( "mod_accesslog" )
server.errorlog = "%s/error"
server.max-keep-alive-requests = 100000
accesslog.filename = "%s"
accesslog.format = "%%{X-Request-Id}i"
`, host, port, dir, dir, log)))
}

func startNode(t *testing.T, addr, dir, log string) {
	host, port, _ := net.SplitHostPort(addr)
	start(t, find("node"), write(t, filepath.Join(dir, "server.js"), fmt.Sprintf(`const fs = require('fs');
require('http').createServer((req, res) => {
  fs.appendFileSync(%q, (req.headers['x-request-id'] || '-') + '\n');
  req.resume(); req.on('end', () => res.end('ok'));
}).listen(%s, %q);
`, log, port, host)))
}

func startWSGI(t *testing.T, addr, dir, log string) {
	host, port, _ := net.SplitHostPort(addr)
	start(t, find("python3"), write(t, filepath.Join(dir, "server.py"), fmt.Sprintf(`import socketserver
from wsgiref.simple_server import make_server, WSGIServer, WSGIRequestHandler
def app(environ, begin):
    with open(%q, "a") as f: f.write(environ.get("HTTP_X_REQUEST_ID", "-") + "\n")
    length = environ.get("CONTENT_LENGTH")
    if length: environ["wsgi.input"].read(int(length))
    begin("200 OK", [("Content-Length", "2")])
    return [b"ok"]
class Server(socketserver.ThreadingMixIn, WSGIServer): daemon_threads = True
class Handler(WSGIRequestHandler):
    def log_message(self, *args): pass
make_server(%q, %s, app, Server, Handler).serve_forever()
`, log, host, port)))
}

func startGo(t *testing.T, addr, _, log string) {
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	server := &http.Server{Addr: addr, ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a body that is cut is the router's to tell
		id := r.Header.Get("X-Request-Id")
		if id == "" {
			id = "-"
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(file, id)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ListenAndServe() // ends with the test
	}()
	t.Cleanup(func() {
		_ = server.Close() // nobody uses it any more
		<-done
		_ = file.Close() // the test has read it
	})
}

// seeds are what requests are mutated from: each is sent with a plain request behind it.
var seeds = []string{
	"GET /a?b=c HTTP/1.1\r\nHost: acme.test\r\nAccept: */*\r\n\r\n",
	"POST /p HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 11\r\n\r\nhello world",
	"POST /c HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
	"POST /t HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
	"PUT /k HTTP/1.1\r\nHost: acme.test\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n",
	"GET http://acme.test/abs HTTP/1.1\r\nHost: acme.test\r\nCookie: a=b; c=d\r\n\r\n",
	"POST /s HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 45\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: acme.test\r\nX: y\r\n",
	"DELETE /d HTTP/1.0\r\nHost: acme.test\r\nConnection: keep-alive\r\n\r\n",
}

// spoils are what is put into a request at a random place.
var spoils = []string{
	"\r", "\n", "\r\n", "\r\n\r\n", " ", "\t", "\x00", "\x0b", ":", ",", ";", "0", "1", "+", "-", "0x", "chunked", "\xff", "\x7f", "#", "?", "%00", "/", "\\",
	"Content-Length: 3\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding : chunked\r\n",
	"Transfer_Encoding: chunked\r\n", "Content_Length: 5\r\n", "Host: evil.test\r\n", "\r\nContent-Length: 9", "\r\nTransfer-Encoding: xchunked", "\r\n X: folded",
	"Expect: 100-continue\r\n", "Connection: close\r\n", "Connection: content-length\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\n", "GET /inner HTTP/1.1\r\nHost: acme.test\r\n\r\n",
}

// mutate spoils a request in one to three places.
func mutate(random *rand.Rand) string {
	request := seeds[random.IntN(len(seeds))]
	for range 1 + random.IntN(3) {
		at := random.IntN(len(request) + 1)
		if lines := lineStarts(request); random.IntN(2) == 0 {
			at = lines[random.IntN(len(lines))]
		}
		switch random.IntN(5) {
		case 0: // a byte is gone
			if at < len(request) {
				request = request[:at] + request[at+1:]
			}
		case 1: // a byte is another
			if at < len(request) {
				request = request[:at] + string(rune(random.IntN(128))) + request[at+1:]
			}
		default:
			request = request[:at] + spoils[random.IntN(len(spoils))] + request[at:]
		}
	}
	return request
}

func lineStarts(text string) []int {
	starts := []int{0}
	for i := range len(text) {
		if text[i] == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// TestConformanceRealServersSeeWhatTheRouterLogs sends mutated requests, each with a plain one
// behind it, through the router into real servers. The requests that a server saw, by the IDs
// that the router gave them, must be those that the router sent it: no request more, none
// without an ID, none twice.
func TestConformanceRealServersSeeWhatTheRouterLogs(t *testing.T) {
	const requests = 2500
	seed := uint64(time.Now().UnixNano())
	for _, s := range servers() {
		t.Run(s.name, func(t *testing.T) {
			needs(t, s.programs...)
			t.Logf("seed %d", seed)
			dir, addr := t.TempDir(), testkit.FreeAddr(t)
			log := filepath.Join(dir, "seen.log")
			s.start(t, addr, dir, log)
			awaitListener(t, addr)
			r := startRouter(t, addr)
			random := rand.New(rand.NewPCG(seed, 0))
			var group sync.WaitGroup
			work := make(chan string)
			for range 8 {
				group.Go(func() {
					for request := range work {
						exchange(r.addr, request)
					}
				})
			}
			for range requests {
				work <- mutate(random)
			}
			close(work)
			group.Wait()
			sent, unsure, refused := await(t, r.access, log)
			seen := readLines(t, log)
			compare(t, sent, unsure, seen)
			fmt.Printf("%s: %d mutated requests, %d requests sent on, %d refused; seen by the server: %d\n", s.name, requests, len(sent), refused, len(seen))
		})
	}
}

// exchange sends a request with a plain one behind it, and reads until the end.
func exchange(addr, request string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request+"GET /behind HTTP/1.1\r\nHost: acme.test\r\nConnection: close\r\n\r\n"); err != nil {
		return
	}
	if half, ok := conn.(*net.TCPConn); ok {
		in := bufio.NewReader(conn)
		// The end is told only after the first answer: before, it would mean that the client left.
		if _, err := in.ReadByte(); err == nil {
			_ = half.CloseWrite() // a body that never ends, ends here
			_, _ = io.Copy(io.Discard, in)
		}
	}
}

// entry is what matters of a line of the access log.
type entry struct {
	ID      string `json:"requestId"`
	Address string `json:"address"`
	Fault   string `json:"fault"`
	Status  int    `json:"status"`
}

// await waits until the router is done, and returns the IDs of what it sent to the deck, which
// of these broke off on the way or were refused by the server, which may log them or not, and
// how many the router refused.
func await(t *testing.T, access, log string) (sent []string, unsure map[string]bool, refused int) {
	t.Helper()
	var lines []string
	for settled := 0; settled < 3; time.Sleep(300 * time.Millisecond) { // its lines are written five times a second
		now := slices.Concat(readLines(t, access), readLines(t, log))
		if len(now) == len(lines) {
			settled++
		} else {
			settled = 0
		}
		lines = now
	}
	unsure = map[string]bool{}
	for _, line := range readLines(t, access) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Address == "" {
			refused++
			continue
		}
		sent = append(sent, e.ID)
		if e.Fault != "" || e.Status >= http.StatusBadRequest {
			unsure[e.ID] = true
		}
	}
	return sent, unsure, refused
}

func compare(t *testing.T, sent []string, unsure map[string]bool, seen []string) {
	t.Helper()
	left := map[string]bool{}
	for _, id := range sent {
		left[id] = true
	}
	nameless := 0
	for _, id := range seen {
		switch {
		case id == "-": // refused before its fields were read
			nameless++
		case !left[id]:
			t.Errorf("the server saw %q, which the router never sent, or saw it twice", id)
		default:
			delete(left, id)
		}
	}
	missing, excused := 0, 0
	for id := range left {
		if unsure[id] {
			excused++
		} else {
			missing++
		}
	}
	if nameless > excused {
		t.Errorf("the server saw %d requests without an ID, and %d at most were refused by it: some came from nowhere", nameless, excused)
	}
	if missing > 0 {
		t.Errorf("%d requests that the router sent and that were answered were never seen", missing)
	}
	if len(sent) < 100 || len(seen) < 100 {
		t.Errorf("%d sent, %d seen: too few to say anything", len(sent), len(seen))
	}
	if strings.Contains(strings.Join(seen, "\n"), "smuggled") {
		t.Error("a smuggled request")
	}
}
