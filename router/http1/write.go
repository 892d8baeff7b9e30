package http1

import "strconv"

// AppendStatusLine appends a status line with its reason phrase.
func AppendStatusLine(dst []byte, status int, reason string, http10 bool) []byte {
	dst = append(dst, Version(http10)...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	return append(dst, "\r\n"...)
}

// Version is the HTTP version of an answer: 1.1, but 1.0 to a client of 1.0.
func Version(http10 bool) string {
	if http10 {
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// AppendConnection says what becomes of the connection, where that is not the default.
func AppendConnection(dst []byte, closes, http10 bool) []byte {
	switch {
	case closes:
		return append(dst, "Connection: close\r\n"...)
	case http10:
		return append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}
