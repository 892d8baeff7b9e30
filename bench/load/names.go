package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Names are numbered names that requests choose from: hosts or keys. The zero value has none.
type Names struct {
	before, after string
	digits        int
	count         int
	list          []string
	zipf          float64 // exponent; 0: uniform
}

// MostNames is how many names there can be.
const MostNames = 1 << 30

// Pattern returns count names: pattern with "{}" replaced by a number from 0, "{7}" by one of
// at least 7 digits. A pattern without braces is one name.
func Pattern(pattern string, count int) (Names, error) {
	before, rest, braces := strings.Cut(pattern, "{")
	digits, after, closed := strings.Cut(rest, "}")
	n := Names{before: before, after: after, count: count}
	switch {
	case pattern == "" || strings.ContainsAny(pattern, "\r\n"):
		return n, errors.New("an empty name, or one of several lines")
	case !braces:
		return Names{list: []string{pattern}, count: 1}, nil
	case !closed:
		return n, fmt.Errorf("the pattern %q lacks a closing brace", pattern)
	case count < 1 || count > MostNames:
		return n, fmt.Errorf("there can be 1 to %d names, not %d", MostNames, count)
	}
	if digits != "" {
		var err error
		if n.digits, err = strconv.Atoi(digits); err != nil || n.digits < 1 || n.digits > 18 {
			return n, fmt.Errorf("between the braces of %q stands no number of digits from 1 to 18", pattern)
		}
	}
	return n, nil
}

// List reads names, one a line; empty lines and those that begin with # are passed over.
func List(r io.Reader) (Names, error) {
	var n Names
	for scan := bufio.NewScanner(r); ; {
		if !scan.Scan() {
			n.count = len(n.list)
			if err := scan.Err(); err != nil {
				return n, err
			}
			if n.count == 0 {
				return n, errors.New("the list of names is empty")
			}
			return n, nil
		}
		if line := strings.TrimSpace(scan.Text()); line != "" && line[0] != '#' {
			n.list = append(n.list, line)
		}
	}
}

// Zipf returns the same names, chosen such that number k comes up in proportion to
// (1+k)^-exponent. The exponent is above 1 and at most 10.
func (n Names) Zipf(exponent float64) (Names, error) {
	if !(exponent > 1 && exponent <= 10) {
		return n, fmt.Errorf("the exponent of a Zipf distribution is above 1 and at most 10, not %g", exponent)
	}
	n.zipf = exponent
	return n, nil
}

// Count returns how many names there are.
func (n *Names) Count() int { return n.count }

// Append appends the name with that number.
func (n *Names) Append(out []byte, number int) []byte {
	if n.list != nil {
		return append(out, n.list[number]...)
	}
	out = append(out, n.before...)
	at := len(out)
	out = strconv.AppendInt(out, int64(number), 10)
	if short := n.digits - (len(out) - at); short > 0 {
		out = append(out, "000000000000000000"[:short]...)
		copy(out[at+short:], out[at:len(out)-short])
		for i := range short {
			out[at+i] = '0'
		}
	}
	return append(out, n.after...)
}

// chooser draws numbers of names. One goroutine.
type chooser struct {
	random *rand.Rand
	zipf   *rand.Zipf
	count  int
}

func (n *Names) chooser(random *rand.Rand) chooser {
	c := chooser{random: random, count: n.count}
	if n.zipf > 0 && n.count > 1 {
		c.zipf = rand.NewZipf(random, n.zipf, 1, uint64(n.count-1))
	}
	return c
}

func (c *chooser) next() int {
	switch {
	case c.zipf != nil:
		return int(c.zipf.Uint64()) // below count
	case c.count < 2:
		return 0
	}
	return c.random.IntN(c.count)
}
