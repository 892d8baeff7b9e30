package http1

import "strconv"

// ChunkRoom is how many bytes [Chunk] needs before the data of a chunk, and as many behind it.
const ChunkRoom = 16

// Chunk frames n bytes of data, which begin at front, as one chunk (RFC 9112 7.1), in place; with last
// it adds the end of the body. There are [ChunkRoom] bytes before the data and behind it. It returns
// the part of whole to send, empty where n is 0 and last false.
func Chunk(whole []byte, front, n int, last bool) []byte {
	var line [ChunkRoom]byte
	size := append(strconv.AppendInt(line[:0], int64(n), 16), "\r\n"...)
	start, end := front-len(size), front+n
	if n == 0 {
		start = front
	} else {
		copy(whole[start:], size)
		end += copy(whole[end:], "\r\n")
	}
	if last {
		end += copy(whole[end:], "0\r\n\r\n")
	}
	return whole[start:end]
}

// AppendChunk appends data as one chunk, where it is not laid out for [Chunk]; last adds the end of
// the body.
func AppendChunk(dst, data []byte, last bool) []byte {
	if len(data) > 0 {
		dst = append(strconv.AppendInt(dst, int64(len(data)), 16), "\r\n"...)
		dst = append(append(dst, data...), "\r\n"...)
	}
	if last {
		dst = append(dst, "0\r\n\r\n"...)
	}
	return dst
}
