package table

import "gridrouter.io/routing/compile"

// newCompiler returns a compiler as gridrouter sets it up.
func (b *bench) newCompiler() *compile.Compiler { return compile.NewCompiler(b.decode) }
