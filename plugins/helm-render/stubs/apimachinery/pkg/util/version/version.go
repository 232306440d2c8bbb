// Package version reads versions as Kubernetes does.
package version

import real "apimachinery.real/pkg/util/version"

// ParseGeneric reads a version.
var ParseGeneric = real.ParseGeneric
