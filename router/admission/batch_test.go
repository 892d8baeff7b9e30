package admission_test

import (
	"encoding/json"
	"strings"
	"testing"

	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func TestBatchAnswersLineByLineAndNamesTheLineItStopsAt(t *testing.T) {
	table := routingtest.Compile(t, compile.NewCompiler(nil), compile.Update{Revision: 7})
	f := func(in string, answers int, fault string) {
		t.Helper()
		var out strings.Builder
		err := admission.ExplainAll(table, strings.NewReader(in), &out)
		if n := strings.Count(out.String(), "\n"); n != answers {
			t.Errorf("%q: %d answers, want %d", in, n, answers)
		}
		switch {
		case fault == "" && err != nil:
			t.Errorf("%q: %v", in, err)
		case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
			t.Errorf("%q: %v, want %q", in, err, fault)
		}
		for line := range strings.Lines(out.String()) {
			var e routing.Explanation
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Revision != 7 {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
	const good = `{"url": "http://a.example/", "headers": ["x-id: 7"], "clientIP": "192.0.2.1"}` + "\n"
	f("", 0, "")
	f(good+"\n  \n"+good, 2, "")
	f(good+"nonsense\n"+good, 1, "line 2")
	f(good+`{"uri": "http://a.example/"}`, 1, "line 2")
	f(`{"url": "/"}`, 0, "names no host")
	f(`{"url": "http://a.example/", "clientIP": "x"}`, 0, "clientIP")
	f(`{"url": "`+strings.Repeat("x", 1<<20)+`"}`, 0, "too long")
}
