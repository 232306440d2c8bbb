// Package scheme has the API versions that Helm knows where there is no cluster.
package scheme

import (
	_ "embed"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// One a line, as Helm with the real client-go of this version lists them.
//
//go:embed versions.txt
var versions string

// Registry is the list.
type Registry struct{}

// Scheme is the one list.
var Scheme Registry

// PrioritizedVersionsAllGroups are all of them, in the order of the list.
func (Registry) PrioritizedVersionsAllGroups() []schema.GroupVersion {
	var all []schema.GroupVersion
	for line := range strings.FieldsSeq(versions) {
		group, version, isNamed := strings.Cut(line, "/")
		if !isNamed {
			group, version = "", line
		}
		all = append(all, schema.GroupVersion{Group: group, Version: version})
	}
	return all
}
