package http1

// Extensions of a chunk (RFC 9112 7.1.1): any number of BWS ";" BWS name [ BWS "=" BWS value ], where
// BWS are blanks and tabs, a name is a token and a value a token or a quoted string. Who reads
// them otherwise may find another end of the line: so what is none is refused.

// extension reads one byte of extensions. It says whether the byte may stand there.
func (d *Chunks) extension(b byte) bool {
	switch d.state { //nolint:exhaustive // these are the states within extensions
	case extBegin:
		return isBlank(b) || d.when(isToken(b), extName)
	case extName, extNameBlank:
		switch {
		case b == '=':
			d.state = extEquals
			return true
		case isBlank(b):
			d.state = extNameBlank
			return true
		case d.state == extName && isToken(b):
			return true
		case d.state == extName:
			return d.behind(b)
		}
		return d.when(b == ';', extBegin)
	case extEquals:
		return isBlank(b) || d.when(b == '"', extQuoted) || d.when(isToken(b), extValue)
	case extValue:
		return isToken(b) || d.behind(b)
	case extQuoted:
		return d.when(b == '"', extQuotedOver) || d.when(b == '\\', extEscape) || isText(b)
	case extEscape:
		return d.when(isText(b), extQuoted)
	case extQuotedOver:
		return d.behind(b)
	case extBlank:
		return isBlank(b) || d.when(b == ';', extBegin)
	}
	return false
}

// behind reads a byte behind a size, a name or a value: the end of the line, the next
// extension, or blanks before that.
func (d *Chunks) behind(b byte) bool {
	return d.when(b == '\r', chunkSizeLF) || d.when(b == ';', extBegin) || d.when(isBlank(b), extBlank)
}

// when goes to a state if it holds, and returns whether it does.
func (d *Chunks) when(holds bool, next chunkState) bool {
	if holds {
		d.state = next
	}
	return holds
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

// isText says whether b may stand in a quoted string (RFC 9110 5.6.4), or behind a backslash there.
func isText(b byte) bool { return octets[b]&valueOctet != 0 }

// isToken says whether b may stand in a token (RFC 9110 5.6.2).
func isToken(b byte) bool { return octets[b]&tokenOctet != 0 }
