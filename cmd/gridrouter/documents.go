package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/routing/document"
)

// maxFileBytes bounds a file of documents, as the following of folders does.
const maxFileBytes = 16 << 20

// readDocuments reads all documents of files, of folders (the *.yaml, *.yml and *.json
// directly in them, by name, as --routes takes them) and, for "-", of stdin. Faults that
// belong to one document are in its Err; those of whole files are returned beside the
// documents. err says that a path cannot be read at all, by [flags.Usagef].
func readDocuments(reader *document.Reader, paths []string, stdin io.Reader) (docs []document.Parsed, faults []error, err error) {
	for _, path := range paths {
		files := []string{path}
		if path != "-" {
			if files, err = documentFiles(path); err != nil {
				return nil, nil, err
			}
		}
		for _, file := range files {
			name, data, err := readDocumentFile(file, stdin)
			if err != nil {
				return nil, nil, err
			}
			parsed, err := reader.ReadFile(name, data)
			docs = append(docs, parsed...)
			if err != nil {
				faults = append(faults, err)
			}
		}
	}
	return docs, faults, nil
}

// documentFiles returns path if it is a file, or the files of documents in it.
func documentFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, flags.Usagef("%w; name a file or a folder of documents", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	listed, err := os.ReadDir(path)
	if err != nil {
		return nil, flags.Usagef("%w; name a folder that can be read", err)
	}
	var files []string
	for _, item := range listed {
		name := item.Name()
		if item.IsDir() || name[0] == '.' || name[0] == '#' || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
			continue
		}
		files = append(files, filepath.Join(path, name))
	}
	return files, nil
}

// readDocumentFile returns a file's content and the name to call it by.
func readDocumentFile(file string, stdin io.Reader) (string, []byte, error) {
	name, from := "stdin", stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return "", nil, flags.Usagef("%w; name a file that can be read", err)
		}
		defer func() { _ = opened.Close() }() // it was only read
		name, from = file, opened
	}
	data, err := io.ReadAll(io.LimitReader(from, maxFileBytes+1))
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("%s: %w", name, err)
	case len(data) > maxFileBytes:
		return "", nil, flags.Usagef("%s has more than %d bytes; split it into several files", name, maxFileBytes)
	}
	return name, data, nil
}

// errorLines returns the lines of all errors, in order.
func errorLines(errs []error) []string {
	var lines []string
	for _, err := range errs {
		for line := range strings.Lines(err.Error()) {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	return lines
}
