// Package listing is what decides: plain functions, which a test calls without any host.
package listing

import "strings"

// Listed is the text of the file.
func Listed(title string, images []string) string {
	var text strings.Builder
	text.WriteString(title + "\n\n")
	for _, image := range images {
		text.WriteString("- " + image + "\n")
	}
	return text.String()
}
