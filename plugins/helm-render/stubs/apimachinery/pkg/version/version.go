// Package version has the one name that reading versions needs.
package version

// Info of a build.
type Info struct {
	Major, Minor, GitVersion, GitCommit, GitTreeState, BuildDate, GoVersion, Compiler, Platform string
}
