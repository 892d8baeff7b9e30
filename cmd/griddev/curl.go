package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
)

// newCurlCommand returns "griddev curl": as much of curl as the tour needs, for
// machines without it. The tour then prints its lines with this command.
func newCurlCommand() *cobra.Command {
	var (
		headers      []string
		method, data string
		include      bool
		silent       bool
	)
	cmd := &cobra.Command{
		Use:    "curl URL",
		Short:  "Ask for a URL and print the answer, as curl would",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := newRequest(cmd.Context(), args[0], method, data, headers)
			if err != nil {
				return err
			}
			return fetch(cmd.OutOrStdout(), request, include)
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&silent, "silent", "s", false, "no progress meter; there is none anyway")
	fs.BoolVarP(&include, "include", "i", false, "print the head of the answer, too")
	fs.StringArrayVarP(&headers, "header", "H", nil, "`LINE` (Name: value) of the request's head, repeatable")
	fs.StringVarP(&method, "request", "X", "", "`METHOD` (default GET, with data POST)")
	fs.StringVarP(&data, "data", "d", "", "`BODY` of the request")
	return cmd
}

func newRequest(ctx context.Context, url, method, data string, headers []string) (*http.Request, error) {
	if method == "" {
		method = http.MethodGet
		if data != "" {
			method = http.MethodPost
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(data))
	if err != nil || request.URL.Scheme != "http" || request.URL.Host == "" {
		return nil, flags.Usagef("%q is not a URL that can be asked for; write http://HOST:PORT/PATH", url)
	}
	if data == "" {
		request.Body = http.NoBody
	}
	for _, line := range headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, flags.Usagef("-H: %q is not \"Name: value\"", line)
		}
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Host") {
			request.Host = value
		} else {
			request.Header.Add(name, value)
		}
	}
	request.Close = true
	return request, nil
}

// fetch sends the request and prints the answer; with include the head as it came.
func fetch(w io.Writer, request *http.Request, include bool) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(request.Context(), "tcp", request.URL.Host)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err = conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if err = request.Write(conn); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	var head bytes.Buffer
	for {
		line, readErr := reader.ReadBytes('\n')
		head.Write(line)
		if readErr != nil {
			return fmt.Errorf("no whole answer came: %w", readErr)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	if include {
		if _, err = w.Write(head.Bytes()); err != nil {
			return err
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(io.MultiReader(&head, reader)), request)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, response.Body)
	return errors.Join(err, response.Body.Close())
}
