// Package yaml reads documents as Kubernetes does.
package yaml

import real "apimachinery.real/pkg/util/yaml"

// NewYAMLReader reads one document after the other.
var NewYAMLReader = real.NewYAMLReader
