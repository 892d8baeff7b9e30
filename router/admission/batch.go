package admission

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"gridrouter.io/routing"
)

// maxQuestion bounds one line of a batch, in bytes.
const maxQuestion = 1 << 20

// ExplainAll answers a batch: from each line of in, a [Question] in JSON, it writes one
// line of JSON to out, a [routing.Explanation]. Empty lines are passed over. It stops at
// the first line that holds no question, with an error that names the line.
func ExplainAll(t *routing.Table, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxQuestion)
	buffered := bufio.NewWriter(out)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		answer, err := explainLine(t, lines.Bytes())
		if err == nil {
			err = encoder.Encode(answer)
		}
		if err != nil {
			_ = buffered.Flush() // what was answered stays answered; the error of the line counts
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		_ = buffered.Flush()
		return fmt.Errorf("the batch cannot be read on: %w", err)
	}
	return buffered.Flush()
}

func explainLine(t *routing.Table, line []byte) (routing.Explanation, error) {
	var q Question
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		return routing.Explanation{}, fmt.Errorf(`%w; a line is such as {"url": "http://shop.acme.example/", "headers": ["x-user-id: 7"]}`, err)
	}
	return Explain(t, nil, q)
}
