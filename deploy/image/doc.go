// Package image has the scripts that build the production image, and tests that hold what they
// built against what was meant. There is no code in it.
package image
