// Package kubernetes is what Helm imports for its version alone.
package kubernetes
