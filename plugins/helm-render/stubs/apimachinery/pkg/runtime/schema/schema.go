// Package schema has the names that Helm needs of it.
package schema

// GroupVersion of resources.
type GroupVersion struct{ Group, Version string }

// String is `group/version`, and the version alone of the core group.
func (gv GroupVersion) String() string {
	if gv.Group == "" {
		return gv.Version
	}
	return gv.Group + "/" + gv.Version
}

// GroupVersionKind of resources.
type GroupVersionKind struct{ Group, Version, Kind string }

// GroupVersion of the kind.
func (gvk GroupVersionKind) GroupVersion() GroupVersion { return GroupVersion{gvk.Group, gvk.Version} }

// String names it in a message.
func (gvk GroupVersionKind) String() string {
	return gvk.Group + "/" + gvk.Version + ", Kind=" + gvk.Kind
}

// GroupVersionResource of resources.
type GroupVersionResource struct{ Group, Version, Resource string }

// FromAPIVersionAndKind is never reached.
func FromAPIVersionAndKind(version, kind string) GroupVersionKind {
	return GroupVersionKind{Version: version, Kind: kind}
}
