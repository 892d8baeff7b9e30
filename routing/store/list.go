package store

import "iter"

const listPage = 256

// List is an immutable list of pointers by ID, in pages: versions share those that did not change.
// A [ListEditor] makes the next version.
type List[T any] []*[listPage]*T

// At returns the pointer with an ID that is in the list. It allocates nothing.
func (l List[T]) At(id uint32) *T { return l[id/listPage][id%listPage] }

// All returns the pointers that are not nil, by ID.
func (l List[T]) All() iter.Seq2[uint32, *T] {
	return func(yield func(uint32, *T) bool) {
		for at, page := range l {
			if page == nil {
				continue
			}
			for i, pointer := range page {
				if pointer != nil && !yield(uint32(at*listPage+i), pointer) {
					return
				}
			}
		}
	}
}

// ListEditor makes the next version of a [List]. The zero ListEditor is that of an empty list. One
// goroutine at a time.
type ListEditor[T any] struct {
	list    List[T]
	changed bool
	owned   map[int]bool // pages that were copied since the last seal
}

// Edit returns an editor of the next version of a list.
func (l List[T]) Edit() ListEditor[T] { return ListEditor[T]{list: l} }

// Set puts a pointer, which may be nil, at an ID.
func (e *ListEditor[T]) Set(id uint32, pointer *T) {
	at := int(id / listPage)
	if !e.changed {
		e.list = append(List[T](nil), e.list...)
		e.changed, e.owned = true, map[int]bool{}
	}
	for len(e.list) <= at {
		e.list = append(e.list, nil)
	}
	if !e.owned[at] {
		fresh := new([listPage]*T)
		if e.list[at] != nil {
			*fresh = *e.list[at]
		}
		e.list[at] = fresh
		e.owned[at] = true
	}
	e.list[at][id%listPage] = pointer
}

// Seal returns the version that has all edits.
func (e *ListEditor[T]) Seal() List[T] {
	e.changed = false
	return e.list
}
