package table

import "gridrouter.io/routing"

// newCompiler returns a compiler as gridrouter sets it up.
func (b *bench) newCompiler() *routing.Compiler { return routing.NewCompiler(b.decode) }
