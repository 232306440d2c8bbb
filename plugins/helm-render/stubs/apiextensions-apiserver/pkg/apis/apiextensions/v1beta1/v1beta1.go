// Package v1beta1 is registered where the default versions are listed.
package v1beta1

// AddToScheme does nothing: the list has it.
func AddToScheme(any) error { return nil }
