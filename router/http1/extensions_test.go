package http1

import (
	"fmt"
	"strings"
	"testing"
)

// decodes says whether a body is decoded whole, at once and byte by byte alike.
func decodes(t *testing.T, body string) bool {
	t.Helper()
	var atOnce, parts Chunks
	_, used, err := atOnce.Decode([]byte(body))
	whole := err == nil && atOnce.Ended() && used == len(body)
	var errParts error
	for i := 0; i < len(body) && errParts == nil; i++ {
		_, _, errParts = parts.Decode([]byte{body[i]})
	}
	if whole != (errParts == nil && parts.Ended()) {
		t.Errorf("%.60q: at once %v (%v), byte by byte %v (%v)", body, whole, err, parts.Ended(), errParts)
	}
	return whole
}

// TestExtensionsFollowTheirGrammar tries what may follow a size, before a chunk with data and at
// the last one.
func TestExtensionsFollowTheirGrammar(t *testing.T) {
	f := func(good bool, extensions ...string) {
		t.Helper()
		for _, ext := range extensions {
			for _, body := range []string{"5" + ext + "\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0" + ext + "\r\n\r\n"} {
				if got := decodes(t, body); got != good {
					t.Errorf("%q: decoded %v, want %v", body, got, good)
				}
			}
		}
	}
	f(true, "", ";a", ";a=b", `;a="b"`, `;a=""`, ";a;b", ";a=b;c=d;e", `;a="b";c`, ";!#$%&'*+-.^_`|~09=!",
		" ;a", "\t;a", " \t ; \ta", "; a", ";a =b", ";a= b", ";a\t=\tb", ";a ;b", ";a=b ;c", `;a="b" ;c`, " ; a = b ; c = \"d\" ; e",
		`;a="b;c=d"`, `;a="\""`, `;a="\\"`, `;a="\a"`, ";a=\"tab\tblank \"", ";a=\"caf\xc3\xa9\"", ";a=\"\\\xff\"")
	f(false, ";", ";;", ";a;", ";a;;b", "; =", ";=b", ";a=", ";a=;b", ";a==b", ";a=b=c", ";bad[=x", ";a=b[", ";a b", ";a=b c", ";a=b\"c\"",
		`;a="b`, `;a="b\"`, `;a="b"c`, `;a="b"="c"`, `;"a"=b`, " ", "\t", " a", ";a ", ";a=b ", `;a="b" `, ";a= ", "; ", " ;", " ; ",
		";a=\xff", ";\xff", ";a\x00", ";a=\"\x00\"", ";a=\"\x7f\"", ";a=\"\\\x00\"", ";a,b", ";a:b", "=b", ",a", "\x0b;a")
}

// TestLinesMayNotOutweighTheirData bounds what lines before chunks may cost in one body.
func TestLinesMayNotOutweighTheirData(t *testing.T) {
	f := func(good bool, name, chunk string, times int) {
		t.Helper()
		var d Chunks
		for i := range times {
			if _, _, err := d.Decode([]byte(chunk)); err != nil {
				if good {
					t.Errorf("%s: refused at chunk %d", name, i)
				}
				return
			}
		}
		if !good {
			t.Errorf("%s: %d chunks are taken", name, times)
		}
	}
	long := ";a=" + strings.Repeat("b", 900)
	f(true, "single bytes", "1\r\nx\r\n", 100_000)
	f(true, "single bytes with the most digits", "000000000000001\r\nx\r\n", 100_000)
	f(true, "signed chunks of 1 KiB", "400;sig="+strings.Repeat("f", 64)+"\r\n"+strings.Repeat("x", 1024)+"\r\n", 10_000)
	f(true, "a few long extensions", "1"+long+"\r\nx\r\n", maxExcess/len(long))
	f(false, "many long extensions", "1"+long+"\r\nx\r\n", maxExcess/len(long)+5)
	f(false, "many short ones", "1;a=bbbbbbbbbbbbbbbbbbbbbbbb\r\nx\r\n", 100_000)
	if most := fmt.Sprint(maxChunkLine); most != "1024" {
		t.Errorf("a line may have %s bytes of extensions", most)
	}
}
