package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/files"
	"gridrouter.io/routing/document"
)

// maxFileBytes bounds a file of documents, as the following of folders does.
const maxFileBytes = 16 << 20

// pipePatience is how long a pipe in place of a file may take to end.
const pipePatience = 10 * time.Second

// readDocuments reads all documents of files, of folders (the *.yaml, *.yml and *.json
// directly in them, by name, as --routes takes them) and, for "-", of stdin. Faults that
// belong to one document are in its Err; those of whole files are returned beside the
// documents. err says that a path cannot be read at all, by [flags.Usagef].
func readDocuments(reader *document.Reader, paths []string, stdin io.Reader) (docs []document.Parsed, faults []error, err error) {
	for _, path := range paths {
		names := []string{path}
		if path != "-" {
			if names, err = documentFiles(path); err != nil {
				return nil, nil, err
			}
		}
		for _, file := range names {
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
	var names []string
	for _, item := range listed {
		name := item.Name()
		known := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name))
		switch {
		case name[0] == '.' || name[0] == '#':
			continue
		case item.IsDir():
			return nil, flags.Usagef("%s is a folder in the folder %s, which no router looks into; put its files directly there, or name it by itself", name, path)
		case !known && slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(name))):
			return nil, flags.Usagef("%s in the folder %s would be passed over, since its name does not end in .yaml, .yml or .json; rename it", name, path)
		case !known:
			continue
		}
		names = append(names, filepath.Join(path, name))
	}
	return names, nil
}

// readDocumentFile returns a file's content and the name to call it by.
func readDocumentFile(file string, stdin io.Reader) (string, []byte, error) {
	name := "stdin"
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(io.LimitReader(stdin, maxFileBytes+1))
	} else {
		name = file
		data, err = files.ReadPiped(file, maxFileBytes, pipePatience)
	}
	switch {
	case errors.Is(err, files.ErrTooLarge), len(data) > maxFileBytes:
		return "", nil, flags.Usagef("%s has more than %d bytes; split it into several files", name, maxFileBytes)
	case err != nil && file == "-":
		return "", nil, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return "", nil, flags.Usagef("%w; name a file that can be read", err)
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
