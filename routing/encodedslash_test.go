package routing

import "testing"

// TestEncodedSlashesPassWhereATenantSaysSo tries paths as a tenant with encodedSlash: pass has them
// read, and that the same are refused without it.
func TestEncodedSlashesPassWhereATenantSaysSo(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		got, ok := canonicalPath(nil, []byte(path), true)
		if !ok {
			got = []byte("refused")
		}
		if string(got) != want {
			t.Errorf("%q -> %q, want %q", path, got, want)
		}
		if _, ok := canonicalPath(nil, []byte(path), false); ok {
			t.Errorf("%q passes by default", path)
		}
	}
	f("/a%2Fb", "/a%2Fb")
	f("/a%2fb/c", "/a%2Fb/c")
	f("%2F", "%2F")
	f("/%2F%2f", "/%2F%2F")
	f("/a%2F.b", "/a%2F.b")
	f("/a%2F...", "/a%2F...")
	f("/x/../a%2Fb", "/a%2Fb")
	f("/a%2F%61", "/a%2Fa")
	f("/a%252F%2Fb", "/a%252F%2Fb") // decoded once
	// Who decodes the slash first would see a dot segment.
	f("/a/..%2Fb", "refused")
	f("/a%2F..", "refused")
	f("/a%2F../b", "refused")
	f("/a%2F.%2Fb", "refused")
	f("/.%2Fa", "refused")
	f("/a%2F%2e%2e", "refused")
	f("/a%2F.%2e/b", "refused")
	f("/a/%2e%2e%2Fb", "refused")
	// And these are refused either way.
	f("/a%2Fb%5C", "refused")
	f("/a%2Fb%00", "refused")
	f("/a%2Fb\\", "refused")
	f("/a%2Fb%", "refused")
	f("/a%2Fb%2", "refused")
	f("/a%2Fb/%2e", "refused")
}

// FuzzEncodedSlash holds what passes to what a deck may make of it: decoded at once, it has no dot
// segment that was not there before.
func FuzzEncodedSlash(f *testing.F) {
	f.Add("/a%2Fb/../c")
	f.Add("/..%2f%2E%2e/x")
	f.Fuzz(func(t *testing.T, path string) {
		first, ok := canonicalPath(nil, []byte(path), true)
		if !ok {
			return
		}
		again, ok := canonicalPath(nil, first, true)
		if !ok || string(again) != string(first) {
			t.Fatalf("%q -> %q -> %q %v", path, first, again, ok)
		}
		if dotsBesideSlash(first) {
			t.Fatalf("%q -> %q", path, first)
		}
	})
}
