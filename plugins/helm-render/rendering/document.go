package rendering

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"
)

// Document is a resource as it is sent to a cluster.
type Document struct {
	// The template that writes it: `app/charts/db/templates/pod.yaml`.
	Template string `json:"template"`
	// The YAML.
	Text string `json:"text"`
	// For each line of the text the line of the template; 0 where it is not known.
	Lines []int `json:"lines"`
	// When it is sent, where it is a hook: `pre-install`, `test`.
	Hooks []string `json:"hooks,omitempty"`
}

// Between documents, as Helm splits them.
var between = regexp.MustCompile(`(?:^|\s*\n)---\s*`)

// documentsOf splits what a template wrote. `marked` is the same with marks.
func documentsOf(name, text, marked string) ([]Document, *Problem) {
	plain, lines := unmarked(marked)
	if strings.Count(plain, "\n") != strings.Count(text, "\n") {
		lines = nil
	}
	var documents []Document
	for _, part := range parts(text) {
		var head struct {
			Metadata *struct {
				Annotations map[string]string `json:"annotations"`
			} `json:"metadata"`
		}
		document := Document{Template: name, Text: part.text, Lines: linesOf(part, lines)}
		if err := yaml.Unmarshal([]byte(part.text), &head); err != nil {
			problem := told(fmt.Errorf("what it renders to is not YAML: %w", err))
			problem.Template, problem.Line = name, document.lineOf(problem.Message)
			return nil, problem
		}
		if head.Metadata != nil {
			hooks, isHook := head.Metadata.Annotations["helm.sh/hook"]
			if document.Hooks = eventsOf(hooks); isHook && document.Hooks == nil {
				continue
			}
		}
		documents = append(documents, document)
	}
	return documents, nil
}

// What Helm knows as a hook; it sends nothing that names another one.
var events = []string{"pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade",
	"pre-rollback", "post-rollback", "test", "test-success"}

func eventsOf(hooks string) []string {
	var found []string
	for event := range strings.SplitSeq(hooks, ",") {
		event = strings.ToLower(strings.TrimSpace(event))
		if !slices.Contains(events, event) {
			return nil
		}
		found = append(found, event)
	}
	return found
}

type part struct {
	text string
	// The lines before it.
	before int
}

func parts(text string) []part {
	var parts []part
	begin := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
	add := func(from, to int) {
		rest := strings.TrimLeftFunc(text[from:to], unicode.IsSpace)
		if strings.TrimSpace(rest) != "" {
			parts = append(parts, part{rest, strings.Count(text[:to-len(rest)], "\n")})
		}
	}
	at := begin
	for _, found := range between.FindAllStringIndex(text[begin:], -1) {
		add(at, begin+found[0])
		at = begin + found[1]
	}
	add(at, len(text))
	return parts
}

func linesOf(part part, lines []int) []int {
	count := strings.Count(part.text, "\n") + 1
	if part.before+count > len(lines) {
		return make([]int, count)
	}
	return lines[part.before : part.before+count]
}

var yamlLine = regexp.MustCompile(`\bline (\d+)`)

// lineOf is the line of the template that a message about the YAML is about.
func (document *Document) lineOf(message string) int {
	found := yamlLine.FindStringSubmatch(message)
	if found == nil {
		return 0
	}
	line := 0
	fmt.Sscan(found[1], &line)
	if line < 1 || line > len(document.Lines) {
		return 0
	}
	return document.Lines[line-1]
}
