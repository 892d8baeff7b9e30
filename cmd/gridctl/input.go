package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/routing/document"
)

// maxInputBytes bounds one file of documents.
const maxInputBytes = 256 << 20

// readDocuments reads what -f names: files, folders of .yaml, .yml and .json files, or
// "-" for the standard input. Documents that cannot be read are told at once, all of them.
func readDocuments(cmd *cobra.Command, reader *document.Reader, names []string) ([]document.Parsed, error) {
	if len(names) == 0 {
		return nil, flags.Usagef("-f is missing; name a file or folder of documents, or - for the standard input")
	}
	var docs []document.Parsed
	var reasons []error
	for _, name := range names {
		files, err := documentFiles(name)
		if err != nil {
			return nil, flags.Usagef("-f: %w", err)
		}
		for _, file := range files {
			text, err := readInput(cmd, file)
			if err != nil {
				return nil, inputError("-f: ", err)
			}
			if file == "-" {
				file = "stdin"
			}
			parsed, err := reader.ReadFile(file, text)
			if err != nil {
				reasons = append(reasons, err)
			}
			docs = append(docs, parsed...)
		}
	}
	for i := range docs {
		if docs[i].Err != nil {
			reasons = append(reasons, docs[i].Err)
		}
	}
	switch {
	case len(reasons) > 0:
		return nil, refuse(cmd, reasons)
	case len(docs) == 0:
		return nil, flags.Usagef("-f: %s holds no documents", strings.Join(names, ", "))
	}
	return docs, nil
}

// documentFiles lists the files that a name stands for.
func documentFiles(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		known := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(entry.Name()))
		if spelled := strings.ToLower(filepath.Ext(entry.Name())); !known && slices.Contains([]string{".yaml", ".yml", ".json"}, spelled) {
			return nil, fmt.Errorf("%s in the folder %s would be passed over, since its name does not end in .yaml, .yml or .json; rename it", entry.Name(), name)
		}
		if known && !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") && !strings.HasPrefix(entry.Name(), "#") {
			files = append(files, filepath.Join(name, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("the folder %s holds no .yaml, .yml or .json file", name)
	}
	return files, nil
}

// readInput reads a file, or the standard input for "-". It ends with the command: what waits
// for a person, or for a pipe whose other side does not write, can be interrupted.
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() { // it may outlive the command by as much as the process does
		text, err := readAll(cmd.InOrStdin(), name)
		done <- result{text, err}
	}()
	select {
	case <-cmd.Context().Done():
		return nil, fmt.Errorf("%w while the input was being read; nothing was written", errStopped)
	case read := <-done:
		return read.text, read.err
	}
}

// errStopped says that somebody interrupted the command.
var errStopped = errors.New("stopped")

// inputError is a failure to read an input: bad use, unless somebody stopped it.
func inputError(flag string, err error) error {
	if errors.Is(err, errStopped) {
		return err
	}
	return flags.Usagef("%s%w", flag, err)
}

func readAll(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // only read
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInputBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxInputBytes:
		return nil, fmt.Errorf("%s has more than %d MiB; spread it over several files", name, maxInputBytes>>20)
	}
	return text, nil
}
