package routing

import "time"

// GuardState says what the guard holds back.
type GuardState struct {
	// Revision accepts all that is held.
	Revision int64 `json:"revision"`
	// Before is the revision of the table before the change, if the update that began the hold was
	// too much by itself; 0: it was the last of many within the window.
	Before int64 `json:"before,omitempty"`
	// Since is when the first of it was held.
	Since time.Time `json:"since"`
	// Documents counts the changes of documents that are held, of which Dropped delete a
	// tenant and Repointed change one.
	Documents int `json:"documents"`
	Dropped   int `json:"dropped"`
	Repointed int `json:"repointed"`
	// Limit is how many tenants could have changed.
	Limit int `json:"limit"`
	// Tenants are the first 100 of the tenants concerned, sorted.
	Tenants []string `json:"tenants"`
}
