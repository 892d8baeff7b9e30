package wire

import "sync"

// Sizes of buffers, in bytes.
const (
	HeadBytes   = 4 << 10  // what the head of a request is first read into
	RecordBytes = 16 << 10 // a record of TLS
	BodyBytes   = 64 << 10 // what bodies flow through
	BufferFront = 16       // room for the frame of a piece, such as the line that begins a chunk
	bufferBack  = 16       // the same behind it
)

// Buffer holds bytes on their way, with room for the framing around them.
type Buffer struct {
	// Whole is the data with the room before and behind it.
	Whole []byte
}

// Data is what the buffer holds, without the room around it.
func (b *Buffer) Data() []byte { return b.Whole[BufferFront : len(b.Whole)-bufferBack] }

// UpTo is Data, but no more of it than limit bytes.
func (b *Buffer) UpTo(limit int) []byte {
	data := b.Data()
	return data[:min(limit, len(data))]
}

// NewBuffer returns a buffer for so many bytes of data.
func NewBuffer(size int) *Buffer { return &Buffer{make([]byte, BufferFront+size+bufferBack)} }

// Buffers is a pool of buffers of one size.
type Buffers struct {
	pool sync.Pool
	size int
}

// Init makes the pool one of buffers for so many bytes; it comes before all else.
func (p *Buffers) Init(size int) {
	p.size = size
	p.pool.New = func() any { return NewBuffer(size) }
}

func (p *Buffers) get() *Buffer {
	b, _ := p.pool.Get().(*Buffer)
	return b
}

// Put takes a buffer back. One of another size is left to the garbage collector.
func (p *Buffers) Put(b *Buffer) {
	if len(b.Data()) == p.size {
		p.pool.Put(b)
	}
}
