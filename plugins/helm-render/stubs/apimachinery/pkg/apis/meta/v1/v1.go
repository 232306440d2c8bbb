// Package v1 has the names that Helm's engine needs of it.
package v1

// GetOptions of a request that nobody sends.
type GetOptions struct{}

// ListOptions of a request that nobody sends.
type ListOptions struct{}

// APIResource of a cluster.
type APIResource struct {
	Name, Group, Version, Kind string
	Namespaced                 bool
}

// APIResourceList of a cluster.
type APIResourceList struct {
	APIResources []APIResource
}
