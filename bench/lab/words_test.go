package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/lab"
	"gridrouter.io/bench/lab/l4"
)

// cut splits arguments at "=>": what to do, and what to expect.
func cut(args []string) (do, expect []string) {
	if at := slices.Index(args, "=>"); at >= 0 {
		return args[:at], args[at+1:]
	}
	return args, nil
}

// httpCommand: http METHOD HOST/TARGET [-H LINE]... [-d BODY] [-via PART] [=> EXPECTATION...]
func httpCommand(s *story, args []string) error {
	do, expect := cut(args)
	r, options, err := parseRequest(do)
	if err != nil {
		return err
	}
	address := s.grid.VIP()
	if via := options["-via"]; via != "" {
		address = s.grid.Address(via)
	}
	w := &wire{address: address}
	defer w.close()
	a, err := w.ask(r)
	if err != nil {
		return err
	}
	fmt.Fprintln(&s.out, a)
	return a.meets(expect)
}

// parseRequest reads METHOD HOST/TARGET and options.
func parseRequest(args []string) (request, map[string]string, error) {
	options := map[string]string{}
	if len(args) < 2 || len(args)%2 != 0 {
		return request{}, nil, fmt.Errorf("write METHOD HOST/TARGET and options with a value each")
	}
	host, target, _ := strings.Cut(args[1], "/")
	r := request{method: args[0], host: host, target: "/" + target}
	for i := 2; i < len(args); i += 2 {
		switch name, value := args[i], args[i+1]; name {
		case "-H":
			r.headers = append(r.headers, value)
		case "-d":
			r.body = value
		default:
			options[name] = value
		}
	}
	return r, options, nil
}

// adminCommand: admin ROUTER PATH [=> EXPECTATION...]
func adminCommand(s *story, args []string) error {
	do, expect := cut(args)
	if len(do) != 2 {
		return fmt.Errorf("write: admin r1|r2 PATH")
	}
	number, err := strconv.Atoi(strings.TrimPrefix(do[0], "r"))
	if err != nil {
		return err
	}
	a, err := get("http://" + s.grid.Admin(number) + do[1])
	if err != nil {
		return err
	}
	fmt.Fprintln(&s.out, a)
	return a.meets(expect)
}

// get asks for a URL over a connection of its own.
func get(url string) (*answer, error) {
	client := &http.Client{Timeout: answerLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return &answer{response.StatusCode, response.Header, body}, err
}

// gridctlCommand: gridctl ARGS... [=> TEXT...], which the output must hold. Files that
// it is given are moved to the grid's block first.
func gridctlCommand(s *story, args []string) error {
	do, expect := cut(args)
	for i, arg := range do {
		if i > 0 && do[i-1] == "-f" {
			do[i] = s.MkAbs(arg)
			text := s.grid.Rewrite(s.ReadFile(arg))
			if err := os.WriteFile(do[i], []byte(text), 0o600); err != nil {
				return err
			}
		}
	}
	out, err := s.grid.Ctl(context.Background(), do...)
	fmt.Fprint(&s.out, out)
	if err != nil {
		return err
	}
	for _, text := range expect {
		if !strings.Contains(out, text) {
			return fmt.Errorf("the output holds no %q:\n%s", text, out)
		}
	}
	return nil
}

// dnsCommand: dns udp|tcp NAME => ADDRESS..., in any order; no address: the name must
// not be answered
func dnsCommand(s *story, args []string) error {
	do, expect := cut(args)
	if len(do) != 2 {
		return fmt.Errorf("write: dns udp|tcp NAME => ADDRESSES")
	}
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(do[1]), dns.TypeA)
	reply, _, err := (&dns.Client{Net: do[0], Timeout: time.Second}).Exchange(query, s.grid.GSLB())
	if err != nil {
		return err
	}
	var got []string
	for _, record := range reply.Answer {
		if a, ok := record.(*dns.A); ok {
			got = append(got, a.A.String())
		}
	}
	slices.Sort(got)
	slices.Sort(expect)
	if !slices.Equal(got, expect) {
		return fmt.Errorf("%s is %v, not %v:\n%s", do[1], got, expect, reply)
	}
	return nil
}

// logCommand: log PART REGEXP
func logCommand(s *story, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("write: log PART REGEXP")
	}
	pattern, err := regexp.Compile(args[1])
	if err != nil {
		return err
	}
	var text []byte
	for deadline := time.Now().Add(logPatience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if text, err = os.ReadFile(s.grid.Log(args[0])); err != nil {
			return err
		}
		if pattern.Match(text) {
			return nil
		}
	}
	return fmt.Errorf("the log of %s has no %q:\n%s", args[0], args[1], text)
}

// logPatience is how long what was logged may take to be in the file.
const logPatience = 5 * time.Second

// frontCommand: front FORWARDER PART=up|down..., what a forwarder thinks of its real servers
func frontCommand(s *story, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("write: front lvs r1=up")
	}
	a, err := get("http://" + s.grid.Status(args[0]) + "/")
	if err != nil {
		return err
	}
	var status l4.Status
	if err := json.Unmarshal(a.body, &status); err != nil {
		return err
	}
	for _, want := range args[1:] {
		part, state, _ := strings.Cut(want, "=")
		held := slices.ContainsFunc(status.Reals, func(r l4.RealStatus) bool {
			return r.Address == s.grid.Address(part) && r.Up == (state == "up")
		})
		if !held {
			return fmt.Errorf("%s does not hold: %s", want, a.body)
		}
	}
	return nil
}

// etcdPutCommand: etcd-put KEY VALUE, past gridctl and its checks; KEY lies under the
// prefix. A VALUE of @FILE is the content of the file.
func etcdPutCommand(s *story, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("write: etcd-put KEY VALUE")
	}
	value := args[1]
	if file, ok := strings.CutPrefix(value, "@"); ok {
		value = s.ReadFile(file)
	}
	return putRaw(s.grid, args[0], value)
}

func putRaw(grid *lab.Grid, key, value string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{grid.EtcdURL()}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	_, err = client.Put(ctx, "/gridrouter/"+key, value)
	return err
}

// loadCommand: load start NAME METHOD HOST/TARGET [-H LINE]... [-workers N] [-decks A,B] [-via PART]
// and: load more NAME [N], load stop NAME [-failures MAX]
func loadCommand(s *story, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("write: load start|more|stop NAME and what it takes")
	}
	name := args[1]
	switch args[0] {
	case "start":
		return startNamedLoad(s, name, args[2:])
	case "more":
		return awaitMore(s.loads[name], args[2:])
	case "stop":
		return stopNamedLoad(s, name, args[2:])
	}
	return fmt.Errorf("write: load start|more|stop NAME and what it takes")
}

func startNamedLoad(s *story, name string, args []string) error {
	r, options, err := parseRequest(args)
	if err != nil {
		return err
	}
	workers := 4
	if text := options["-workers"]; text != "" {
		if workers, err = strconv.Atoi(text); err != nil {
			return err
		}
	}
	var decks []string
	if text := options["-decks"]; text != "" {
		decks = strings.Split(text, ",")
	}
	address := s.grid.VIP()
	if via := options["-via"]; via != "" {
		address = s.grid.Address(via)
	}
	s.loads[name] = startLoad(address, r, workers, decks)
	return awaitMore(s.loads[name], nil)
}

// awaitMore waits until so many more requests (default 200) have been answered well.
func awaitMore(l *load, args []string) error {
	if l == nil {
		return fmt.Errorf("there is no such load")
	}
	more := 200
	if len(args) == 1 {
		var err error
		if more, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
	}
	began := l.goodSoFar()
	for deadline := time.Now().Add(patience); l.goodSoFar() < began+more; {
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d good answers in %s", l.goodSoFar()-began, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

func stopNamedLoad(s *story, name string, args []string) error {
	l := s.loads[name]
	if l == nil {
		return fmt.Errorf("there is no load %q", name)
	}
	delete(s.loads, name)
	good, failures := l.end()
	allowed := 0
	if len(args) == 2 && args[0] == "-failures" {
		var err error
		if allowed, err = strconv.Atoi(args[1]); err != nil {
			return err
		}
	}
	s.Logf("load %s: %d good, %d failed, %d allowed: %s", name, good, len(failures), allowed, tally(failures))
	if len(failures) > allowed {
		return fmt.Errorf("%d requests of the load %s failed; at most %d may: %s", len(failures), name, allowed, tally(failures))
	}
	return nil
}

// listening says whether somebody listens at the address.
func listening(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
