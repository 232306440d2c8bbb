// Package runtime has the one name that Helm's releases need.
package runtime

// Object of a cluster.
type Object any
