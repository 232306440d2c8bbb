package rendering

import (
	"fmt"
	"path"
	"sort"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// The functions that are put into the templates: the first says from which line
// what follows comes, the second is in the bodies of `define`, whose text may
// be changed before it is written.
const (
	lineFunction  = "airgapLine"
	countFunction = "airgapCount"
)

// Bytes that a chart may write, and passes through its texts, which bounds what
// is repeated without being written.
const (
	mostBytes  = 32 << 20
	mostPasses = 20_000_000
)

// meter counts what templates write, and says from where it comes.
type meter struct {
	names   []string
	bytes   int
	passes  int
	exceeds *Problem
	// Whether the places are written into the text.
	isMarking bool
}

// Between these bytes stands the number of a line. No YAML holds them.
const (
	markBegin = "\x02"
	markEnd   = "\x03"
)

func (m *meter) functions() template.FuncMap {
	return template.FuncMap{
		lineFunction: func(name, line, bytes int) (string, error) {
			err := m.count(name, line, bytes)
			if err != nil || !m.isMarking {
				return "", err
			}
			return markBegin + strconv.Itoa(line) + markEnd, nil
		},
		countFunction: func(name, line, bytes int) (string, error) {
			return "", m.count(name, line, bytes)
		},
	}
}

func (m *meter) count(name, line, bytes int) error {
	m.bytes += bytes
	m.passes++
	if m.bytes <= mostBytes && m.passes <= mostPasses {
		return nil
	}
	if m.exceeds == nil {
		m.exceeds = &Problem{Template: m.names[name], Line: line, Message: fmt.Sprintf(
			"it writes more than %d MiB, or repeats itself more than %d times", mostBytes>>20, mostPasses)}
	}
	return fmt.Errorf("%s", m.exceeds.Message)
}

// marked is a template in which every line of text is counted. One that does not
// parse is left as it is: Helm says what is wrong with it.
func (m *meter) marked(name, source string) string {
	trees := map[string]*parse.Tree{}
	reader := parse.New(name)
	reader.Mode = parse.SkipFuncCheck
	if _, err := reader.Parse(source, "", "", trees); err != nil {
		return source
	}
	m.names = append(m.names, name)
	isPartial := strings.HasPrefix(path.Base(name), "_")
	var marks []mark
	for key, tree := range trees {
		// What is empty does not take the place of another definition.
		if parse.IsEmptyTree(tree.Root) || key == name && isPartial {
			continue
		}
		function := countFunction
		if key == name {
			function = lineFunction
		}
		marks = append(marks, marksOf(tree.Root, source, function)...)
	}
	return spliced(source, marks, len(m.names)-1)
}

// mark is a place in a source.
type mark struct {
	at, bytes int
	function  string
}

// marksOf are the places where text begins, and its lines.
func marksOf(node parse.Node, source, function string) []mark {
	var marks []mark
	walk(node, func(text *parse.TextNode) {
		at, kept := int(text.Pos), string(text.Text)
		if at+len(kept) > len(source) || source[at:at+len(kept)] != kept {
			return
		}
		for {
			line := strings.IndexByte(kept, '\n') + 1
			if line == 0 {
				line = len(kept)
			}
			marks = append(marks, mark{at, line, function})
			at, kept = at+line, kept[line:]
			if kept == "" {
				break
			}
		}
		if strings.HasSuffix(string(text.Text), "\n") {
			marks = append(marks, mark{at, 0, function})
		}
	})
	return marks
}

func walk(node parse.Node, each func(*parse.TextNode)) {
	branch := func(lists ...*parse.ListNode) {
		for _, list := range lists {
			if list != nil {
				walk(list, each)
			}
		}
	}
	switch node := node.(type) {
	case *parse.TextNode:
		each(node)
	case *parse.ListNode:
		for _, inner := range node.Nodes {
			walk(inner, each)
		}
	case *parse.IfNode:
		branch(node.List, node.ElseList)
	case *parse.RangeNode:
		branch(node.List, node.ElseList)
	case *parse.WithNode:
		branch(node.List, node.ElseList)
	}
}

func spliced(source string, marks []mark, name int) string {
	sort.Slice(marks, func(a, b int) bool { return marks[a].at < marks[b].at })
	var out strings.Builder
	at, line := 0, 1
	for _, mark := range marks {
		text := source[at:mark.at]
		out.WriteString(text)
		line += strings.Count(text, "\n")
		fmt.Fprintf(&out, "{{%s %d %d %d}}", mark.function, name, line, mark.bytes)
		at = mark.at
	}
	out.WriteString(source[at:])
	return out.String()
}

// unmarked takes the marks out of a text, and says for each of its lines from
// which line of the template it comes: 0 where no mark stands before it.
func unmarked(text string) (string, []int) {
	var out strings.Builder
	var lines []int
	current := 0
	for row := range strings.SplitSeq(text, "\n") {
		if len(lines) > 0 {
			out.WriteByte('\n')
		}
		first := 0
		for {
			before, after, isMarked := strings.Cut(row, markBegin)
			out.WriteString(before)
			if first == 0 && strings.TrimSpace(before) != "" {
				first = current
			}
			if !isMarked {
				break
			}
			number, rest, _ := strings.Cut(after, markEnd)
			if line, err := strconv.Atoi(number); err == nil {
				current = line
			}
			row = rest
		}
		if first == 0 {
			first = current
		}
		lines = append(lines, first)
	}
	return out.String(), lines
}
