package starter

import (
	"fmt"
	"strconv"
	"strings"

	"gridrouter.io/deploy/etcd/member"
	"gridrouter.io/discovery/files"
)

// podInfoBytes bounds the file of annotations: Kubernetes allows 256 KiB of them, of which each byte may be written
// as \x00 is.
const podInfoBytes = 2 << 20

// joinedAs returns who a pod's member is by the pod's annotations, or nil if it has not joined yet. A file that cannot be
// read is an error: taken for one without the annotation, it would let a member join anew.
func joinedAs(file string) (*member.Identity, error) {
	text, err := files.Read(file, podInfoBytes)
	if err != nil {
		return nil, usagef("--pod-info: %w; mount the pod's annotations there by a volume of the downward API", err)
	}
	value, found, err := annotation(string(text), member.Joined)
	if err != nil {
		return nil, usagef("--pod-info: %s:%w", file, err)
	}
	if !found {
		return nil, nil
	}
	identity, err := member.ParseIdentity(value)
	if err != nil {
		return nil, usagef("--pod-info: %s: annotation %s: %w", file, member.Joined, err)
	}
	return &identity, nil
}

// annotation returns the value of one annotation out of lines of the form KEY="VALUE", where the value is quoted as in
// Go. The error begins with the number of the line that is not of the form.
func annotation(text, key string) (value string, found bool, err error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			continue
		}
		name, quoted, cut := strings.Cut(line, "=")
		read, err := strconv.Unquote(quoted)
		if !cut || name == "" || err != nil || quoted[0] != '"' {
			return "", false, fmt.Errorf(`%d: the line is not of the form KEY="VALUE"`, number)
		}
		if name != key {
			continue
		}
		if found {
			return "", false, fmt.Errorf("%d: the annotation %s is there twice", number, key)
		}
		value, found = read, true
	}
	return value, found, nil
}
