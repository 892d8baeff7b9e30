package lab_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/lab"
	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
)

// TestE2EExplanationsAgreeWithTheDataPath asks four times what becomes of a request: of
// gridrouter explain, from a folder; of gridctl explain, from etcd; of a router's
// /explain; and of the router itself, by sending the request and seeing which deck
// answers. All must say the same of 10,000 random requests over random policies.
func TestE2EExplanationsAgreeWithTheDataPath(t *testing.T) {
	if testing.Short() {
		t.Skip("whole grids take a while")
	}
	const rounds, tenants, perRound = 5, 8, 2000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := policies{rand.New(rand.NewPCG(seed, 0))}
	g := startGrid(t, sampleConfig(bin(t)))
	data := &dataPath{address: g.Address(lab.Router1)}
	defer data.close()
	outcomes := map[string]int{}
	for range rounds {
		dir := t.TempDir()
		text := random.tenants(tenants)
		if err := os.WriteFile(filepath.Join(dir, "policies.yaml"), []byte(strings.TrimPrefix(text, "---\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		ctl(t, g, "apply", "-f", dir)
		copyDecks(t, g, dir)
		awaitRevision(t, g, ctl(t, g, "explain", "http://x/", "-o", "json"))

		questions := make([]admission.Question, perRound)
		var batch bytes.Buffer
		for i := range questions {
			questions[i] = random.question(tenants)
			if err := json.NewEncoder(&batch).Encode(questions[i]); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(t.TempDir(), "questions")
		if err := os.WriteFile(file, batch.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		offline := answersOf(t, g, perRound, exec.Command(filepath.Join(bin(t), "gridrouter"), "explain", "--routes", dir, "--batch", file))
		stored := answersOf(t, g, perRound, exec.Command(filepath.Join(bin(t), "gridctl"), "--etcd", g.EtcdURL(), "explain", "--batch", file))
		for i, q := range questions {
			asked := askAdmin(t, g.Admin(1), q)
			want := verdict(offline[i])
			if got := verdict(stored[i]); got != want {
				t.Errorf("%+v: offline %s, etcd %s", q, want, got)
			}
			if got := verdict(asked); got != want {
				t.Errorf("%+v: offline %s, router's explain %s", q, want, got)
			}
			outcome := string(offline[i].Fault) + offline[i].Deck
			if got := data.send(t, q); got != outcome {
				t.Errorf("%+v: explained as %s (%s), but the data path says %s", q, outcome, offline[i].Reason, got)
			}
			outcomes[outcome]++
		}
	}
	t.Logf("outcomes: %v", outcomes)
	for _, outcome := range []string{"orders-east-1", "orders-west-2", "no_tenant", "no_rule", "key_missing", "bad_request", "method_not_allowed", "expectation_failed"} {
		if outcomes[outcome] < 20 {
			t.Errorf("only %d requests ended in %s", outcomes[outcome], outcome)
		}
	}
}

// verdict is what two explanations must agree on; epochs and revisions may differ
// between a folder and etcd.
func verdict(e routing.Explanation) string {
	e.Epoch, e.Revision, e.Hash = 0, 0, ""
	text, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// copyDecks writes the grid's deck documents beside the policies, for explanations
// from the folder.
func copyDecks(t *testing.T, g *lab.Grid, dir string) {
	t.Helper()
	text := ctl(t, g, "get", "decks", "-o", "yaml")
	if err := os.WriteFile(filepath.Join(dir, "decks.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaitRevision waits until both routers have in force what etcd holds.
func awaitRevision(t *testing.T, g *lab.Grid, explanation string) {
	t.Helper()
	var want struct{ Hash string }
	if err := json.Unmarshal([]byte(explanation), &want); err != nil || want.Hash == "" {
		t.Fatalf("%v in %s", err, explanation)
	}
	for n := 1; n <= 2; n++ {
		testkit.Eventually(t, fmt.Sprintf("router %d has the hash %s", n, want.Hash), func() bool {
			var table struct{ Hash string }
			fetchJSON(t, "http://"+g.Admin(n)+"/table", &table)
			return table.Hash == want.Hash
		})
	}
}

func ctl(t *testing.T, g *lab.Grid, args ...string) string {
	t.Helper()
	out, err := g.Ctl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func fetchJSON(t *testing.T, url string, into any) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v %s", url, response.StatusCode, err, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %v in %s", url, err, body)
	}
}

func askAdmin(t *testing.T, admin string, q admission.Question) routing.Explanation {
	t.Helper()
	e := routing.Explanation{Slot: -1}
	fetchJSON(t, "http://"+admin+"/explain?"+q.Query().Encode(), &e)
	return e
}

// answersOf runs a command that explains a batch.
func answersOf(t *testing.T, g *lab.Grid, n int, command *exec.Cmd) []routing.Explanation {
	t.Helper()
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command.Args, err, &stderr)
	}
	answers := make([]routing.Explanation, 0, n)
	for line := range bytes.Lines(out) {
		e := routing.Explanation{Slot: -1}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, e)
	}
	if len(answers) != n {
		t.Fatalf("%v gave %d answers to %d questions", command.Args, len(answers), n)
	}
	return answers
}

// dataPath sends requests to a router, byte for byte as the questions have them.
type dataPath struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

func (d *dataPath) close() {
	if d.conn != nil {
		_ = d.conn.Close()
	}
	d.conn = nil
}

// send says who answered: the deck, or the router with a fault.
func (d *dataPath) send(t *testing.T, q admission.Question) string {
	t.Helper()
	if d.conn == nil {
		conn, err := net.Dial("tcp", d.address)
		if err != nil {
			t.Fatal(err)
		}
		d.conn, d.in = conn, bufio.NewReader(conn)
	}
	_ = d.conn.SetDeadline(time.Now().Add(20 * time.Second))
	rest := strings.TrimPrefix(q.URL, "http://")
	authority, target := rest, "/"
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		authority, target = rest[:at], rest[at:]
	}
	if target[0] != '/' {
		target = "/" + target
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\n", q.Method, target)
	for _, header := range q.Headers {
		name, value, _ := strings.Cut(header, ":")
		fmt.Fprintf(&out, "%s: %s\r\n", name, strings.Trim(value, " \t"))
	}
	fmt.Fprintf(&out, "Host: %s\r\n\r\n", authority)
	if _, err := io.WriteString(d.conn, out.String()); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	response, err := http.ReadResponse(d.in, &http.Request{Method: q.Method})
	if err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	if response.Close {
		d.close()
	}
	if fault := response.Header.Get("X-Grid-Fault"); fault != "" {
		return fault
	}
	return response.Header.Get("X-Deck")
}
