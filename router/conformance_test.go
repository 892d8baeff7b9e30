package router

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/accesslog"
	"gridrouter.io/router/admission"
	"gridrouter.io/router/faults"
	"gridrouter.io/routing"
)

// rawCase is a case of the tables under testdata; invalid-requests.txt tells of their format.
type rawCase struct {
	name, want string
	without    []string // of valid requests: fields that do not pass
	raw        string
	ending     string // of decks: "close" or "reset"
}

// readCases reads a table.
func readCases(t testing.TB, path string) []rawCase {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []rawCase
	seen := map[string]bool{}
	for number, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "== "):
			parts := strings.SplitN(line[3:], " | ", 3)
			if len(parts) != 3 || seen[parts[0]] {
				t.Fatalf("%s:%d: %q is no head of a case, or it stands twice", path, number+1, line)
			}
			seen[parts[0]] = true
			cases = append(cases, rawCase{name: parts[0], want: parts[2]})
		default:
			c := &cases[len(cases)-1]
			if name, ok := strings.CutPrefix(line, "! without "); ok {
				c.without = append(c.without, name)
				continue
			}
			c.raw += unescape(t, line)
		}
	}
	for i := range cases {
		c := &cases[i]
		c.raw = regexp.MustCompile(`(?s)\{\{(\d+)\*(.*?)\}\}`).ReplaceAllStringFunc(c.raw, func(macro string) string {
			count, piece, _ := strings.Cut(strings.Trim(macro, "{}"), "*")
			n, _ := strconv.Atoi(count)
			return strings.Repeat(unescape(t, piece), n)
		})
		for _, ending := range []string{"close", "reset"} {
			if rest, ok := strings.CutSuffix(c.raw, "{{"+ending+"}}"); ok {
				c.raw, c.ending = rest, ending
			}
		}
	}
	return cases
}

func unescape(t testing.TB, text string) string {
	t.Helper()
	raw, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return raw
}

// witness is a deck that writes down what it gets and answers each whole request with the
// digest of its body.
type witness struct {
	deck  *rawDeck
	ended atomic.Int64 // connections
	addr  string
	mu    sync.Mutex
	bytes []byte // everything
	whole []seen
}

// seen is a whole request as a deck saw it.
type seen struct {
	head string
	body []byte
}

func newWitness(t testing.TB) *witness {
	d := &witness{}
	d.deck = newRawDeck(t, func(c *rawClient) {
		defer d.ended.Add(1)
		in := bufio.NewReader(io.TeeReader(c.Conn, d))
		for {
			var head bytes.Buffer
			for !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
				b, err := in.ReadByte()
				if err != nil {
					return
				}
				head.WriteByte(b)
			}
			text := head.String()
			request, err := http.ReadRequest(bufio.NewReader(&exactly{io.MultiReader(strings.NewReader(text), in)}))
			if err != nil {
				return
			}
			body, err := io.ReadAll(request.Body)
			if err != nil {
				return
			}
			d.mu.Lock()
			d.whole = append(d.whole, seen{text, body})
			d.mu.Unlock()
			answer := fmt.Sprintf("%x", sha256.Sum256(body))
			if _, err := fmt.Fprintf(c.Conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(answer)); err != nil {
				return
			}
			if request.Method != http.MethodHead {
				_, _ = io.WriteString(c.Conn, answer)
			}
		}
	})
	d.addr = d.deck.addr
	return d
}

// hasReadAll says whether the deck has read to its end each connection that the router has closed.
func (d *witness) hasReadAll(g *grid) bool {
	made := g.counts().Opened
	return uint64(d.deck.connections()) == made && int64(made)-d.ended.Load() <= openConnections(g)
}

// exactly gives bytes one at a time, so that nothing is read ahead.
type exactly struct{ in io.Reader }

func (r *exactly) Read(p []byte) (int, error) { return r.in.Read(p[:min(1, len(p))]) }

// Write takes what the deck received.
func (d *witness) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes = append(d.bytes, p...)
	return len(p), nil
}

// take returns what came since the last call.
func (d *witness) take() (all []byte, whole []seen) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all, whole = d.bytes, d.whole
	d.bytes, d.whole = nil, nil
	return all, whole
}

// report prints a line where it is seen: also without -v.
func report(format string, args ...any) {
	if os.Getenv("GRIDROUTER_CONFORMANCE") != "" {
		fmt.Printf(format+"\n", args...)
	}
}

// pieces says how a request is sent: at once, or byte by byte.
var pieces = map[string]func(length int) int{
	"at once":   func(length int) int { return max(1, length) },
	"in pieces": func(length int) int { return max(1, length/300) },
}

// sendIn sends text piece by piece. The other side may end meanwhile.
func (w *rawClient) sendIn(text string, step int) {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true)
	}
	for len(text) > 0 {
		n := min(step, len(text))
		if _, err := io.WriteString(w.Conn, text[:n]); err != nil {
			return
		}
		text = text[n:]
	}
}

// TestConformanceInvalidRequestsAreRefused sends every request of invalid-requests.txt at once,
// in pieces, and behind a good one.
func TestConformanceInvalidRequestsAreRefused(t *testing.T) {
	g := newGrid(t, nil)
	deck := newWitness(t)
	g.one(deck.addr)
	cases := readCases(t, "testdata/invalid-requests.txt")
	if len(cases) < 250 {
		t.Fatalf("%d cases, want 250 or more", len(cases))
	}
	var mu sync.Mutex
	reached, failed := 0, map[string]bool{}
	for _, c := range cases {
		for how, step := range pieces {
			for _, behind := range []bool{false, true} {
				leaked, err := sendInvalid(g, deck, c, step(len(c.raw)), behind)
				mu.Lock()
				if reached += leaked; err != nil {
					failed[c.name] = true
					t.Errorf("%s, %s, behind a good one %v: %v", c.name, how, behind, err)
				}
				mu.Unlock()
			}
		}
	}
	report("invalid requests: %d of %d refused, each at once, in pieces and behind a good one; %d bytes of them reached a deck", len(cases)-len(failed), len(cases), reached)
}

// sendInvalid sends one request. It returns how many bytes of it reached the deck though none
// may, and what else is wrong.
func sendInvalid(g *grid, deck *witness, c rawCase, step int, behind bool) (leaked int, err error) {
	w := g.dial()
	defer w.Close()
	if behind {
		w.send("GET /good HTTP/1.1\r\nHost: acme.test\r\n\r\n")
		if r := w.reply("GET"); r.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("the good request got %d", r.StatusCode)
		}
	}
	deck.take()
	w.sendIn(c.raw, step)
	want, body := strings.CutSuffix(c.want, " body")
	if want == "close" {
		_ = w.Conn.(*net.TCPConn).CloseWrite()
		if rest, err := io.ReadAll(w.in); err == nil && len(rest) > 0 {
			return 0, fmt.Errorf("got %.60q, want the end", rest)
		}
	} else if err := checkRefused(w, want); err != nil {
		return 0, err
	}
	testkit.Eventually(g.t, "what is on its way to the deck has arrived", func() bool {
		return g.router.counters.inFlight() == 0 && deck.hasReadAll(g)
	})
	all, whole := deck.take()
	switch {
	case len(whole) > 0:
		return len(all), fmt.Errorf("a deck took it for a whole request: %q", whole[0].head)
	case !body && len(all) > 0:
		return len(all), fmt.Errorf("%d bytes reached the deck: %.80q", len(all), all)
	case bytes.HasSuffix(all, []byte("\r\n0\r\n\r\n")):
		return 0, fmt.Errorf("the deck saw an end: %.80q", all)
	}
	return 0, nil
}

func checkRefused(w *rawClient, want string) error {
	r, err := w.tryReply("GET")
	if err != nil {
		return fmt.Errorf("no answer (%w), want %s", err, want)
	}
	if !slices.Contains(strings.Split(want, "|"), strconv.Itoa(r.StatusCode)) || r.fault() == "" {
		return fmt.Errorf("got %d %q, want %s", r.StatusCode, r.fault(), want)
	}
	if rest, _ := io.ReadAll(w.in); len(rest) > 0 {
		return fmt.Errorf("behind the refusal comes %.60q", rest)
	}
	return nil
}

// TestConformanceValidRequestsArrive sends every request of valid-requests.txt at once and in
// pieces.
func TestConformanceValidRequestsArrive(t *testing.T) {
	g := newGrid(t, nil)
	deck := newWitness(t)
	g.one(deck.addr)
	cases := readCases(t, "testdata/valid-requests.txt")
	if len(cases) < 100 {
		t.Fatalf("%d cases, want 100 or more", len(cases))
	}
	failed := map[string]bool{}
	for _, c := range cases {
		want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.raw)))
		if err != nil {
			t.Errorf("%s: net/http refuses it: %v", c.name, err)
			continue
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Errorf("%s: net/http cannot read its body: %v", c.name, err)
		}
		for how, step := range pieces {
			w := g.dial()
			w.sendIn(c.raw, step(len(c.raw)))
			r := w.reply(want.Method)
			_ = w.Close()
			_, whole := deck.take()
			if r.StatusCode != http.StatusOK || len(whole) != 1 {
				failed[c.name] = true
				t.Errorf("%s, %s: got %d %q, and the deck saw %d requests", c.name, how, r.StatusCode, r.body, len(whole))
				continue
			}
			if wrong := compareSeen(t, c, whole[0], body); wrong != "" || want.Method != http.MethodHead && r.body != fmt.Sprintf("%x", sha256.Sum256(body)) {
				failed[c.name] = true
				t.Errorf("%s, %s: %s; the deck saw %.200q", c.name, how, wrong, whole[0].head)
			}
		}
	}
	report("valid requests: %d of %d arrived and were answered, bodies equal by SHA-256", len(cases)-len(failed), len(cases))
}

// compareSeen says what differs between a request and what the deck saw of it.
func compareSeen(t *testing.T, c rawCase, got seen, body []byte) string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(got.head, "\r\n\r\n"), "\r\n")
	if want := unescape(t, c.want) + " HTTP/1.1"; lines[0] != want {
		return fmt.Sprintf("the request line is %q, want %q", lines[0], want)
	}
	head, _, _ := strings.Cut(c.raw, "\r\n\r\n")
	at := 1
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, _, _ := strings.Cut(line, ":")
		drops := func(without string) bool { return strings.EqualFold(without, name) }
		if strings.EqualFold(name, "host") {
			continue
		}
		if slices.ContainsFunc(c.without, drops) {
			if slices.Contains(lines, line) && !strings.EqualFold(name, "transfer-encoding") {
				return fmt.Sprintf("%q passed", line)
			}
			continue
		}
		i := slices.Index(lines[at:], line)
		if i < 0 {
			return fmt.Sprintf("%q is missing, or out of order", line)
		}
		at += i + 1
	}
	if !bytes.Equal(got.body, body) {
		return fmt.Sprintf("the body has %d bytes, want %d", len(got.body), len(body))
	}
	return ""
}

// TestConformanceHostSpellings holds the deck, the Host that it sees, the log line and explain
// to each other, for every spelling of host-spellings.txt.
func TestConformanceHostSpellings(t *testing.T) {
	g, heads, log := spellingGrid(t)
	text, err := os.ReadFile("testdata/host-spellings.txt")
	if err != nil {
		t.Fatal(err)
	}
	total, good := 0, 0
	for _, line := range strings.Split(string(text), "\n") {
		spelling, want, ok := strings.Cut(line, " => ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		total++
		if wrong := checkSpelling(g, heads, log, unescape(t, spelling), want); wrong != "" {
			t.Errorf("%q: %s", spelling, wrong)
			continue
		}
		good++
	}
	if total < 60 {
		t.Errorf("%d spellings, want 60 or more", total)
	}
	report("host spellings: %d of %d on the right deck, and agreed upon by deck, log and explain, or refused", good, total)
}

func spellingGrid(t *testing.T) (*grid, map[string]chan string, *lockedBuffer) {
	t.Helper()
	log := &lockedBuffer{}
	access, err := accesslog.Open(accesslog.Config{Output: log, Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(access.Close)
	g := newGrid(t, func(c *Config) { c.AccessLog = access })
	addr1, heads1 := recording(t)
	addr2, heads2 := recording(t)
	d1, d2 := deckAt("d1", addr1), deckAt("d2", addr2)
	d1.HostHeader, d2.HostHeader = routing.HostHeaderOriginal, routing.HostHeaderOriginal
	g.put(d1, d2, tenantOn("acme", "d1", "acme.test"), tenantOn("other", "d2", "other.test", "*.wild.test", "xn--bcher-kva.test", "127.0.0.1", "[::1]"))
	if problems := g.router.Table().Problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return g, map[string]chan string{"d1": heads1, "d2": heads2}, log
}

// checkSpelling says what is wrong with how one spelling is taken.
func checkSpelling(g *grid, heads map[string]chan string, log *lockedBuffer, spelling, want string) string {
	r := g.ask("GET / HTTP/1.1\r\nHost: " + spelling + "\r\n\r\n")
	if r.StatusCode != http.StatusOK {
		if strconv.Itoa(r.StatusCode) != want {
			return fmt.Sprintf("got %d %s, want %s", r.StatusCode, r.fault(), want)
		}
		return ""
	}
	deck, host, _ := strings.Cut(want, ", ")
	if heads[deck] == nil {
		return "got 200, want " + want
	}
	var head string
	select {
	case head = <-heads[deck]:
	default: // it noted the head before it answered
		return "it went to another deck than " + deck
	}
	if saw := lines(head)[1]; saw != "Host: "+strings.Trim(spelling, " \t") { // as it came
		return fmt.Sprintf("the deck saw %q, want %q", saw, spelling)
	}
	if !strings.Contains(head, "\r\nX-Forwarded-Host: "+host+"\r\n") {
		return fmt.Sprintf("the deck saw %q, want %q in its canonical form", head, host)
	}
	canonical := host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		canonical = host[:i]
	}
	_, id, _ := strings.Cut(head, "\r\nX-Request-Id: ")
	id, _, _ = strings.Cut(id, "\r\n")
	// No testkit.Eventually: what is wrong is returned, since others go on.
	for deadline := time.Now().Add(patience); log.line(id) == "" && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond) // lines are written five times a second
	}
	if line := log.line(id); !strings.Contains(line, `"host":"`+canonical+`"`) || !strings.Contains(line, `"deck":"`+deck+`"`) {
		return "the log says " + line
	}
	return explainSpelling(g, spelling, canonical, deck)
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	all []byte
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, p...)
	return len(p), nil
}

// line returns the line that holds a text; empty: there is none.
func (b *lockedBuffer) line(text string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range strings.SplitAfter(string(b.all), "\n") {
		if strings.HasSuffix(line, "\n") && strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// explainSpelling says how explain differs.
func explainSpelling(g *grid, spelling, canonical, deck string) string {
	told, err := admission.Explain(g.router.Table(), nil, admission.Question{URL: "/", Headers: []string{"Host: " + spelling}})
	if err != nil || told.Host != canonical || told.Deck != deck {
		return fmt.Sprintf("explain says host %q, deck %q (%v)", told.Host, told.Deck, err)
	}
	return ""
}

// TestConformanceBadDecks gives a client every answer of bad-decks.txt.
func TestConformanceBadDecks(t *testing.T) {
	cases := readCases(t, "testdata/bad-decks.txt")
	if len(cases) < 80 {
		t.Fatalf("%d cases, want 80 or more", len(cases))
	}
	failed := 0
	for _, c := range cases {
		if err := answerBadly(t, c); err != nil {
			failed++
			t.Errorf("%s: %v", c.name, err)
		}
	}
	report("bad decks: %d of %d answers handled: one attempt, the right fault, no second use, no byte of theirs in a fault", len(cases)-failed, len(cases))
}

// answerBadly has a deck give one answer, and says what is wrong with what the client got.
func answerBadly(t *testing.T, c rawCase) error {
	g := newGrid(t, nil)
	asked := make(chan bool, 10)
	deck := newRawDeck(t, func(d *rawClient) {
		for first := true; d.head() != ""; first = false {
			asked <- first
			_, _ = io.WriteString(d.Conn, c.raw)
			switch c.ending {
			case "reset":
				_ = d.Conn.(*net.TCPConn).SetLinger(0)
				return
			case "close":
				return
			}
		}
	})
	g.one(deck.addr)
	defer g.router.Close()
	defer deck.close()
	w := g.dial()
	defer w.Close()
	w.send(get("/"))
	r, err := w.tryReply("GET")
	if wrong := checkAnswer(c, r, err); wrong != nil {
		return wrong
	}
	if n := len(asked); n != 1 {
		return fmt.Errorf("the deck was asked %d times", n)
	}
	if c.want == "cut" {
		return nil
	}
	use, _, _ := strings.Cut(c.want, " ")
	again := g.ask(get("/"))
	if reused := deck.connections() == 1; reused != (use == "reuse") {
		return fmt.Errorf("used again: %v (the next request got %d)", reused, again.StatusCode)
	}
	return nil
}

func checkAnswer(c rawCase, r *reply, err error) error {
	switch {
	case c.want == "cut":
		if err == nil && r.err == nil && (r.StatusCode != http.StatusBadGateway || r.fault() != "bad_deck_answer" || strings.Contains(r.body, "EVIL")) {
			return fmt.Errorf("it looks whole: %d %.60q", r.StatusCode, r.body)
		}
		return nil
	case err != nil:
		return fmt.Errorf("no answer: %w", err)
	case c.want == "502":
		if r.StatusCode != http.StatusBadGateway || r.fault() != "bad_deck_answer" || strings.Contains(r.body, "EVIL") {
			return fmt.Errorf("got %d %q %.60q", r.StatusCode, r.fault(), r.body)
		}
		return nil
	}
	got := fmt.Sprintf("%d %q", r.StatusCode, r.body)
	if _, want, _ := strings.Cut(c.want, " "); got != want || r.err != nil {
		return fmt.Errorf("got %s (%w), want %s", got, r.err, want)
	}
	return nil
}

// FuzzHeadAgainstNetHTTP holds that what is let in is let in by net/http as well, which sees
// the same method, target, host and http1.
func FuzzHeadAgainstNetHTTP(f *testing.F) {
	for _, table := range []string{"testdata/valid-requests.txt", "testdata/invalid-requests.txt"} {
		for _, c := range readCases(f, table) {
			if len(c.raw) < 4096 {
				f.Add([]byte(c.raw))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { againstNetHTTP(t, data) })
}

func againstNetHTTP(t *testing.T, data []byte) {
	t.Helper()
	x := newExchange(&Router{})
	c := &client{}
	c.frame.MaxLine, c.frame.MaxFields = maxLineBytes, 64<<10
	end, err := c.frame.Find(data)
	if err != nil || end == 0 || !slices.Contains([]byte("!#$%&'*+-.^_`|~"), data[0]) && !isAlphanumeric(data[0]) {
		return
	}
	line, fields := admission.SplitHead(data[:end], c.frame.Line())
	if x.head.Check(line, fields).Fault != faults.None {
		return
	}
	theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatalf("%q is let in, and net/http says %v", data[:end], err)
	}
	host, _ := x.head.Field("host")
	chunked := slices.Contains(theirs.TransferEncoding, "chunked")
	switch {
	case theirs.Method != string(line.Method), theirs.RequestURI != string(line.Target):
		t.Fatalf("%q: net/http sees %s %s", data[:end], theirs.Method, theirs.RequestURI)
	case chunked != x.head.Chunked, !chunked && theirs.ContentLength != max(0, x.head.Length):
		t.Fatalf("%q: net/http sees a body of %d, chunked %v", data[:end], theirs.ContentLength, chunked)
	case theirs.URL.Host == "" && theirs.Host != string(host):
		t.Fatalf("%q: net/http sees the host %q", data[:end], theirs.Host)
	}
}

func isAlphanumeric(b byte) bool {
	return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
}
