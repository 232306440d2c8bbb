// Package rest has the one name that Helm's engine needs.
package rest

// Config of a connection that nobody makes.
type Config struct{}
