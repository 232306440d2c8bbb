// Package errors has the one name that Helm's engine needs.
package errors

// IsNotFound of an error that no cluster sent.
func IsNotFound(error) bool { return false }
