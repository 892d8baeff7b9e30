// Package docs holds what is written about gridrouter; its tests hold the words to the code.
package docs
