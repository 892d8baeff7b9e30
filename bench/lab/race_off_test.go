//go:build !race

package lab_test

// raceDetector says whether the tests, and so the programs that they start, are built
// with the race detector.
const raceDetector = false
